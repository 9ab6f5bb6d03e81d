"""SAEs that are known only as functions or as another library's objects."""

import threading
from types import SimpleNamespace

import pytest
import torch

from darkmatter.errors import ItemError
from darkmatter.sae.base import SAE
from darkmatter.sae.duck import from_object

W = torch.randn(6, 10, generator=torch.Generator().manual_seed(0))
X = torch.randn(4, 3, 6, generator=torch.Generator().manual_seed(1))


def encode(x):
    """A plain encoder."""
    return (x @ W).relu()


def decode(f):
    """Its decoder."""
    return f @ W.T


def wrapped(**changes):
    """The two as an SAE, with changes."""
    return SAE.from_functions(**({"encode": encode, "decode": decode, "d_in": 6, "d_sae": 10} | changes))


def test_functions_become_an_sae():
    """from_functions gives the functions' numbers, in the shapes of every other SAE."""
    sae = wrapped(hook="h")
    codes = sae.encode(X)
    assert codes.shape == (4, 3, 10)
    assert torch.equal(codes.to_dense(), encode(X))
    torch.testing.assert_close(sae.decode(codes), decode(encode(X)))
    torch.testing.assert_close(sae.reconstruct(X), decode(encode(X)))
    torch.testing.assert_close(sae.reconstruct_from(codes, X), sae.reconstruct(X))
    assert (sae.fingerprint, sae.W_dec, sae.hook_in, sae.hook_out) == (None, None, "h", "h")


def test_functions_see_only_the_rows_given():
    """No probe, no call on zero rows, dense float32 rows, and a copy that they may overwrite."""
    seen = []

    def spy(x):
        seen.append((tuple(x.shape), x.dtype, x.requires_grad))
        out = encode(x)
        x.zero_()
        return out

    sae = wrapped(encode=spy)
    assert seen == []
    x = X.clone().requires_grad_()
    sae.encode(x.double())
    assert sae.encode(X[:0]).shape == (0, 3, 10)
    sae.encode(x)
    assert seen == [((12, 6), torch.float32, False)] * 2
    assert torch.equal(x, X)


@pytest.mark.parametrize(
    ("answer", "match"),
    [
        (lambda x: x, r"\[12, 6\]; expected .*\[n, d_sae\] = \[12, 10\]"),
        (lambda _: None, "NoneType"),
        (lambda x: encode(x).long(), "int64"),
        (lambda x: encode(x) / 0, "NaN or infinite"),
    ],
)
def test_what_comes_back_is_checked(answer, match):
    """A wrong shape, type or number from a user's function is one clear item error."""
    with pytest.raises(ItemError, match=match):
        wrapped(encode=answer).encode(X)


def test_sparse_answers_and_half_precision_are_taken():
    """Anything with to_dense(), and any floating-point type, is accepted and made float32."""
    sparse = wrapped(encode=lambda x: encode(x).to_sparse())
    assert torch.equal(sparse.encode(X).to_dense(), encode(X))
    half = wrapped(encode=lambda x: encode(x).bfloat16())
    assert half.encode(X).values.dtype == torch.float32


def test_calls_are_one_at_a_time():
    """Two threads never run a user's function together: it may keep state."""
    running, clashes = [], []

    def slow(x):
        running.append(1)
        clashes.append(len(running))
        out = encode(x)
        running.pop()
        return out

    sae = wrapped(encode=slow)
    threads = [threading.Thread(target=lambda: [sae.encode(X) for _ in range(20)]) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(clashes) == {1}


class LayerNormed(torch.nn.Module):
    """A SAELens-like object that keeps the row statistics of its last encode."""

    def __init__(self, *, with_forward):
        super().__init__()
        self.W_enc, self.W_dec = torch.nn.Parameter(W.clone()), torch.nn.Parameter(W.T.clone())
        metadata = SimpleNamespace(hook_name="blocks.1.hook_resid_post", model_name="m", context_size=128)
        self.cfg = SimpleNamespace(d_in=6, d_sae=10, metadata=metadata, architecture=lambda: "topk")
        if with_forward:
            self.forward = lambda x: self.decode(self.encode(x))

    def encode(self, x):
        self.mean, self.std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return ((x - self.mean) / self.std @ self.W_enc).relu()

    def decode(self, f):
        return f @ self.W_dec * self.std + self.mean


def test_objects_with_state_reconstruct_from_x():
    """An object with forward is asked for x̂ of x, so another batch in between changes nothing."""
    sae = from_object(LayerNormed(with_forward=True))
    codes, expected = sae.encode(X), sae.reconstruct(X)
    sae.encode(X[:1] * 7)
    assert torch.equal(sae.reconstruct_from(codes, X), expected)
    assert expected.shape == X.shape
    assert not expected.requires_grad


def test_a_module_without_forward_is_decoded():
    """The forward that every torch module has, and that only raises, is not taken for a reconstruction."""
    sae = from_object(LayerNormed(with_forward=False))
    expected = from_object(LayerNormed(with_forward=True)).reconstruct(X)
    torch.testing.assert_close(sae.reconstruct(X), expected)


def test_what_an_object_says_of_itself_is_read():
    """Hook, model, context length, architecture and the decoder are taken over."""
    sae = from_object(LayerNormed(with_forward=True))
    assert (sae.hook_in, sae.d_in, sae.d_sae, sae.d_out) == ("blocks.1.hook_resid_post", 6, 10, 6)
    assert (sae.metadata.model, sae.metadata.context_length) == ("m", 128)
    assert sae.metadata.architecture == "topk"
    assert torch.equal(sae.W_dec, W.T)
    assert from_object(sae) is sae


def test_sizes_come_from_what_there_is():
    """Without a cfg, matrices or dictionary_learning's attributes give the sizes."""
    functions = {"encode": encode, "decode": decode}
    assert from_object(SimpleNamespace(**functions, W_dec=W.T)).d_sae == 10
    named = from_object(SimpleNamespace(**functions, activation_dim=6, dict_size=10))
    assert (named.d_in, named.d_sae, named.W_dec) == (6, 10, None)
    config = from_object(SimpleNamespace(**functions, cfg={"d_in": 6, "d_sae": 10, "hook_name": "h"}))
    assert config.hook_in == "h"


def test_an_object_that_lacks_something_is_explained():
    """A missing callable or size is named, with what is expected instead."""
    with pytest.raises(ItemError, match=r"no callable 'decode'.*from_functions"):
        from_object(SimpleNamespace(encode=encode))
    with pytest.raises(ItemError, match="does not say its d_in and d_sae"):
        from_object(SimpleNamespace(encode=encode, decode=decode))


def test_an_error_term_is_not_a_reconstruction():
    """SAELens's use_error_term makes forward return x; the reconstruction is taken without it."""
    obj = SimpleNamespace(encode=encode, decode=decode, W_dec=W.T, forward=lambda x: x, use_error_term=True)
    sae = from_object(obj)
    torch.testing.assert_close(sae.reconstruct(X), decode(encode(X)))
    assert "use_error_term" in sae.assumptions[0]


def test_objects_that_flatten_heads_are_shown_heads():
    """A hook_z object of SAELens flattens its last two dimensions; it gets rows and headed x right."""

    def flatten(x):
        obj.d_head = x.shape[-1]
        return encode(x.flatten(-2))

    def unflatten(f):
        out = decode(f)
        return out.reshape(*out.shape[:-1], -1, obj.d_head)

    obj = SimpleNamespace(
        encode=flatten, decode=unflatten, W_dec=W.T, cfg=SimpleNamespace(reshape_activations="hook_z")
    )
    sae = from_object(obj)
    assert torch.equal(sae.encode(X).to_dense(), encode(X))
    torch.testing.assert_close(sae.reconstruct(X.reshape(4, 3, 2, 3)).flatten(-2), decode(encode(X)))


def test_activations_that_are_not_finite_are_named_as_the_cause():
    """Functions that give NaN for NaN are not blamed for it: the row of the activations is named."""
    x = X.clone()
    x[1, 2] = torch.nan
    with pytest.raises(ItemError, match="Row 5 of 12 holds NaN or infinite activations"):
        wrapped().encode(x)
