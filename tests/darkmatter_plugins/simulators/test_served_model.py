"""The simulator ``endpoint`` against a real server: ``transformers serve`` with a model made here."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import pytest
import torch

from darkmatter.api import ItemError
from darkmatter_plugins.simulators.endpoint.descriptor import EndpointConfig
from darkmatter_plugins.simulators.endpoint.run import make

pytestmark = pytest.mark.slow
for package in ("openai", "fastapi", "uvicorn"):
    pytest.importorskip(package, reason="`transformers serve` and its client need the test extra")

EXPLANATION = "fires on w7"
LEVELS = '{"1": 0, "2": 9, "3": 0}'
TEMPLATE = (
    "{% if 'State in one short sentence' in messages[0]['content'] %}E>{% else %}L>{% endif %}"
    "{# what a model of two memorised answers needs to see #}"
)


def save_parrot(folder):
    """A tiny Llama over bytes that has learnt to answer each kind of question with one text."""
    import transformers as hf
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    letters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {letter: n for n, letter in enumerate(["<s>", "</s>", *letters])}
    tokenizer = Tokenizer(models.BPE(vocabulary, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    fast = hf.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>"
    )
    fast.chat_template = TEMPLATE
    fast.save_pretrained(folder)
    torch.manual_seed(0)
    config = hf.LlamaConfig(
        hidden_size=48,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=256,
        vocab_size=len(vocabulary),
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    model = hf.LlamaForCausalLM(config)
    texts = [[*fast(text)["input_ids"], 1] for text in (f"E>{EXPLANATION}", f"L>{LEVELS}")]
    width = max(map(len, texts))
    ids = torch.tensor([each + [1] * (width - len(each)) for each in texts])
    labels = torch.tensor([each + [-100] * (width - len(each)) for each in texts])
    optimiser = torch.optim.AdamW(model.parameters(), lr=5e-3)
    for _ in range(150):
        loss = model(ids, labels=labels).loss
        loss.backward()
        optimiser.step()
        optimiser.zero_grad()
    model.eval().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def served(tmp_path_factory):
    """Address and model of a running server."""
    folder = save_parrot(tmp_path_factory.mktemp("models") / "parrot")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = os.environ | {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    options = ["serve", "--device", "cpu", "--host", "127.0.0.1", "--port", str(port), str(folder)]
    log = (tmp_path_factory.mktemp("log") / "serve.log").open("w+")
    server = subprocess.Popen(
        [sys.executable, "-m", "transformers.cli.transformers", *options],
        env=environment,
        stdout=log,
        stderr=log,
    )
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).close()
                break
            except OSError:
                assert server.poll() is None, log.seek(0) or log.read()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}/v1", str(folder)
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=30)
        log.close()


@pytest.fixture
def maker(served, words):
    """A function that makes simulators of the served model."""
    url, model = served
    return lambda **options: make(
        EndpointConfig(**{"base_url": url, "model": model, "max_output_tokens": 64} | options), words
    )


def test_a_real_server_explains_and_simulates(maker, fragments, cache):
    """Requests are accepted, answers and token counts read, and the second run is the cache's."""
    shown = fragments(n=3)
    tokens = torch.tensor([[1, 7, 3], [2, 7, 4]])
    first, second = maker(), maker()
    simulation = first.fit(shown)

    assert simulation.explanation == EXPLANATION
    assert torch.equal(simulation(tokens), torch.tensor([[0.0, 9, 0], [0, 9, 0]], dtype=torch.float64))
    used = first.usage()
    assert used.requests == 3
    assert used.input_tokens == 3 * len("E>")  # as the server counts them
    assert len(EXPLANATION) + 2 * len(LEVELS) <= used.output_tokens <= len(EXPLANATION) + 2 * len(LEVELS) + 3
    assert torch.equal(second.fit(shown)(tokens), simulation(tokens))
    assert (second.usage().requests, second.usage().cached) == (0, 3)


def test_what_a_real_server_gets_wrong_fails_the_latent_alone(maker, fragments):
    """Another length than the model has learnt is a wrong count; the next question is answered."""
    simulators = maker()
    simulation = simulators.fit(fragments(n=3))
    with pytest.raises(ItemError, match="keys are not 1 to 6"):
        simulation(fragments(n=1).tokens)
    with pytest.raises(ItemError, match="cut off at max_output_tokens"):
        maker(max_output_tokens=16).fit(fragments(n=3))(torch.tensor([[1, 7, 3]]))
    assert simulation(torch.tensor([[1, 7, 3]])).shape == (1, 3)


def test_a_model_that_is_not_there_is_a_reason(maker, fragments):
    """The server's own words come with the latent's failure."""
    with pytest.raises(ItemError, match=r"status [45]\d\d"):
        maker(model="no-such-model", retries=0).fit(fragments())
