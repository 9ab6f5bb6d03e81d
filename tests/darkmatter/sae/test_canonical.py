"""The canonical form against formulas written out here, in float64, without the harness's code."""

import math

import pytest
import torch

from darkmatter.errors import ItemError
from darkmatter.sae import affine
from darkmatter.sae.activation import AbsTopK, Gated, GroupMax, JumpRelu, Relu, TanhRelu, Threshold, TopK
from darkmatter.sae.canonical import CanonicalSAE
from darkmatter.sae.linear import DENSE_ABOVE, decode_codes
from darkmatter.sae.normalisation import Normalisation

D_IN, D_SAE, D_OUT = 12, 60, 12


def draw(*shape, seed=0, scale=1.0):
    """Seeded normal numbers."""
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed)) * scale


def topk_mask(keys, k):
    """1 at the k largest keys of the last dimension, else 0."""
    order = keys.argsort(dim=-1, descending=True, stable=True)[..., :k]
    return torch.zeros_like(keys).scatter(-1, order, 1.0)


def by_hand(name, h, parts):
    """Dense float64 codes of pre-activations h by the activation's published formula."""
    gate = h * parts["gate"]
    if name == "relu":
        return h.clamp_min(0)
    if name == "tanhrelu":
        return h.clamp_min(0).tanh()
    if name in {"jumprelu", "batchtopk"}:
        return h.clamp_min(0) * (gate > parts["threshold"])
    if name == "topk":
        return (h * topk_mask(gate, 7)).clamp_min(0)
    if name == "topk_signed":
        return h * topk_mask(gate, 40)
    if name == "threshold":
        return h * (gate > parts["threshold"])
    if name == "abstopk":
        return h * topk_mask(gate.abs(), 7)
    if name == "groupmax":
        shape = (*h.shape[:-1], 6, D_SAE // 6)
        return (h.reshape(shape) * topk_mask(gate.reshape(shape), 1)).reshape(h.shape).clamp_min(0)
    magnitude = (h * parts["r_mag"].exp() + parts["b_mag"]).clamp_min(0)
    return (h + parts["b_gate"] > 0) * magnitude


def normalise_by_hand(kind, x):
    """Normalised x with the factor and the shift of the output's inverse."""
    if kind == "layer_norm":
        mean, std = x.mean(-1, keepdim=True), x.std(-1, keepdim=True)
        return (x - mean) / (std + 1e-5), std, mean
    if kind == "constant_norm":
        factor = x.norm(dim=-1, keepdim=True) / math.sqrt(D_IN)
        return x / factor, factor, 0.0
    if kind == "scale":
        return x * 0.3, 1 / 0.3, 0.0
    return x, 1.0, 0.0


def parts_of(seed=0):
    """Parameters of all activations."""
    names = {"b_gate": 1, "b_mag": 2, "r_mag": 3}
    parts = {name: draw(D_SAE, seed=seed + offset, scale=0.3) for name, offset in names.items()}
    parts["threshold"] = draw(D_SAE, seed=seed + 4)  # negative ones too
    parts["gate"] = torch.ones(D_SAE)
    return parts


def activation_of(name, parts):
    """The harness's activation of a name."""
    return {
        "relu": Relu(),
        "tanhrelu": TanhRelu(),
        "jumprelu": JumpRelu(parts["threshold"]),
        "batchtopk": JumpRelu(parts["threshold"]),
        "threshold": Threshold(parts["threshold"]),
        "topk": TopK(7),
        "topk_signed": TopK(40, relu=False),
        "abstopk": AbsTopK(7),
        "groupmax": GroupMax(6),
        "gated": Gated(parts["b_gate"], parts["r_mag"], parts["b_mag"]),
    }[name]


NAMES = [
    "relu",
    "tanhrelu",
    "jumprelu",
    "batchtopk",
    "threshold",
    "topk",
    "topk_signed",
    "abstopk",
    "groupmax",
    "gated",
]
KINDS = ["none", "layer_norm", "constant_norm", "scale"]


def weights(seed=10, d_sae=D_SAE):
    """Matrices and input-side vectors of a small SAE."""
    return {
        "W_enc": draw(D_IN, d_sae, seed=seed),
        "W_dec": draw(d_sae, D_OUT, seed=seed + 1),
        "b_dec": draw(D_OUT, seed=seed + 2),
        "subtract": draw(D_IN, seed=seed + 3, scale=0.2),
    }


@pytest.mark.parametrize("scaled", [False, True])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", NAMES)
def test_codes_and_reconstruction_follow_the_published_formula(name, kind, scaled):
    """Every activation under every normalisation computes what its library computes."""
    parts = parts_of()
    if name == "batchtopk":
        parts["threshold"] = torch.tensor(0.8)
    w, b_enc, skip = weights(), draw(D_SAE, seed=20, scale=0.3), draw(D_IN, D_OUT, seed=21)
    code_scale = draw(D_SAE, seed=22).abs() + 0.1 if scaled else torch.ones(D_SAE)
    if scaled and name != "gated":
        parts["gate"] = draw(D_SAE, seed=23).abs() + 0.1
    sae = CanonicalSAE(
        **w,
        b_enc=b_enc,
        W_skip=skip,
        activation=activation_of(name, parts),
        normalisation=Normalisation(kind, factor=0.3),
        code_scale=code_scale if scaled else None,
        gate_scale=parts["gate"] if scaled and name != "gated" else None,
    )
    x = draw(5, 3, D_IN, seed=30)
    double = {key: value.double() for key, value in (w | parts).items()}
    normalised, scale, shift = normalise_by_hand(kind, x.double())
    h = ((normalised - double["subtract"]) @ double["W_enc"] + b_enc.double()) * code_scale.double()
    codes = by_hand(name, h, double)
    decoded = ((codes / code_scale.double()) @ double["W_dec"] + double["b_dec"]) * scale + shift

    found = sae.encode(x)
    assert found.values.dtype == torch.float32
    assert found.shape == (5, 3, D_SAE)
    torch.testing.assert_close(found.to_dense().double(), codes, rtol=1e-5, atol=1e-6)
    assert torch.equal(found.to_dense() != 0, codes != 0)
    torch.testing.assert_close(sae.decode(found).double(), decoded, rtol=1e-5, atol=1e-5)
    full = decoded + x.double() @ skip.double()
    torch.testing.assert_close(sae.reconstruct(x).double(), full, rtol=1e-5, atol=1e-5)
    torch.testing.assert_close(sae.reconstruct_from(found, x), sae.reconstruct(x))
    assert sae.reconstruct(x).shape == x.shape
    reference_codes, reference = sae.reference(x)
    torch.testing.assert_close(reference_codes, codes)
    torch.testing.assert_close(reference, full)


def identity(activation, width=4, **more):
    """An SAE whose pre-activations are x."""
    return CanonicalSAE(W_enc=torch.eye(width), W_dec=torch.eye(width), activation=activation, **more)


def test_the_threshold_is_strict():
    """A pre-activation equal to its threshold gives no code; the next float above does, with any sign."""
    threshold = torch.tensor([0.5, 0.5, 0.0, -1.0])
    above = torch.nextafter(torch.tensor(0.5), torch.tensor(1.0))
    x = torch.tensor([[0.5, float(above), 0.0, -0.5]])
    codes = identity(JumpRelu(threshold)).encode(x)
    assert codes.indices.tolist() == [1]
    assert codes.values.tolist() == [float(above)]
    signed = identity(Threshold(threshold)).encode(x)
    assert signed.indices.tolist() == [1, 3]
    assert signed.values.tolist() == [float(above), -0.5]


def test_topk_drops_what_is_not_positive():
    """With fewer than k positive entries, relu leaves fewer than k codes and relu=False does not."""
    x = torch.tensor([[3.0, -1.0, -2.0, 0.0], [-1.0, -2.0, -3.0, -4.0]])
    assert identity(TopK(3)).encode(x).to_dense().tolist() == [[3.0, 0, 0, 0], [0.0, 0, 0, 0]]
    signed = identity(TopK(3, relu=False)).encode(x).to_dense().tolist()
    assert signed == [[3.0, -1.0, 0, 0], [-1.0, -2.0, -3.0, 0]]


def test_a_dead_latent_may_have_an_infinite_threshold():
    """A threshold of +inf switches a latent off without NaN, and the others on as usual."""
    codes = identity(JumpRelu(torch.tensor([math.inf, 0.0, 0.0, 1.0]))).encode(torch.ones(2, 4))
    assert codes.to_dense().tolist() == [[0, 1, 1, 0]] * 2


def test_zero_rows_give_no_nan():
    """Rows of zeros, which no normalisation may turn into NaN, reconstruct to finite numbers."""
    for kind in KINDS:
        sae = CanonicalSAE(**weights(), activation=Relu(), normalisation=Normalisation(kind))
        assert sae.reconstruct(torch.zeros(2, D_IN)).isfinite().all()


def test_heads_may_stand_apart():
    """Attention-z SAEs take [..., heads, d_head], and give the flattened result in that shape."""
    sae = CanonicalSAE(**weights(), activation=TopK(5), head_shape=(3, 4))
    x = draw(2, 7, D_IN)
    headed = x.reshape(2, 7, 3, 4)
    assert sae.encode(headed).batch_shape == (2, 7)
    assert torch.equal(sae.encode(headed).to_dense(), sae.encode(x).to_dense())
    assert torch.equal(sae.reconstruct(headed), sae.reconstruct(x).reshape(2, 7, 3, 4))


@pytest.mark.parametrize("heads", [2, 3, 4])
def test_an_attention_z_hook_point_takes_any_number_of_heads(heads):
    """No file of an SAE says how many heads its model has, so at hook_z every split of d_in is read."""
    sae = CanonicalSAE(**weights(), activation=Relu(), hook_in="blocks.3.attn.hook_z")
    x = draw(5, D_IN)
    split = x.reshape(5, heads, D_IN // heads)
    assert torch.equal(sae.encode(split).to_dense(), sae.encode(x).to_dense())
    assert torch.equal(sae.reconstruct(split).reshape(5, D_IN), sae.reconstruct(x))
    with pytest.raises(ItemError, match=r"\[\.\.\., heads, d_head\] with heads \* d_head = 12"):
        sae.encode(draw(5, 3, 5))


def test_heads_are_refused_where_the_hook_point_is_not_attention_z():
    """Elsewhere two last dimensions that multiply to d_in are a mistake, such as a wrong layer's width."""
    sae = CanonicalSAE(**weights(), activation=Relu(), hook_in="blocks.3.hook_resid_post")
    with pytest.raises(ItemError, match="reads floating-point activations of d_in = 12"):
        sae.encode(draw(5, 3, 4))


def test_a_transcoder_gives_its_own_width():
    """With d_out other than d_in the result is [..., d_out], also where the input has heads."""
    w = {"W_enc": draw(6, 8), "W_dec": draw(8, 4, seed=1), "W_skip": draw(6, 4, seed=2)}
    sae = CanonicalSAE(**w, activation=Relu(), head_shape=(3, 2), hook_in="a", hook_out="b")
    assert (sae.d_in, sae.d_sae, sae.d_out, sae.hook_out) == (6, 8, 4, "b")
    assert sae.reconstruct(draw(5, 6)).shape == (5, 4)
    assert sae.reconstruct(draw(5, 3, 2)).shape == (5, 4)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_weights_are_computed_in_float32_whatever_their_file_dtype(dtype):
    """Half and double weights are stored as they are and upcast for the arithmetic."""
    stored = {name: tensor.to(dtype) for name, tensor in weights().items()}
    upcast = {name: tensor.float() for name, tensor in stored.items()}
    sae = CanonicalSAE(**stored, activation=TopK(4))
    same = CanonicalSAE(**upcast, activation=TopK(4))
    x = draw(9, D_IN)
    assert sae.W_dec.dtype == dtype
    assert torch.equal(sae.encode(x).indices, same.encode(x).indices)
    torch.testing.assert_close(sae.reconstruct(x), same.reconstruct(x))
    assert sae.reconstruct(x.to(torch.bfloat16)).dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_other_compute_precisions(name):
    """float64 reproduces the reference; bfloat16 runs and stays near it; codes stay float32."""
    sae = CanonicalSAE(**weights(), activation=activation_of(name, parts_of()))
    x = draw(20, D_IN)
    codes, _ = sae.reference(x)
    exact = sae.to(dtype=torch.float64).encode(x)
    assert torch.equal(exact.to_dense(), codes.float())
    rough = sae.to(dtype=torch.bfloat16).encode(x)
    assert rough.values.dtype == torch.float32
    assert ((rough.to_dense() != 0) == (codes != 0)).float().mean() > 0.97


def test_sparse_decode_equals_dense_decode():
    """Gathering decoder rows and multiplying densely give the same x̂ on both sides of the switch."""
    w = weights(d_sae=400)
    for k in (1, 40, 300):
        codes = CanonicalSAE(**w, activation=AbsTopK(k)).encode(draw(30, D_IN))
        assert (codes.nnz > DENSE_ABOVE * 30 * 400) == (k == 300)
        for weight in (w["W_dec"], w["W_dec"].bfloat16(), w["W_dec"].double()):
            decoded = decode_codes(codes, weight, torch.float32)
            expected = codes.to_dense().double() @ weight.double()
            torch.testing.assert_close(decoded.double(), expected, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("tile", [1, 7, 16, 64, 100])
@pytest.mark.parametrize("name", NAMES)
def test_codes_do_not_depend_on_the_tile(name, tile, monkeypatch):
    """Widths that are no multiple of the tile, and groups wider or narrower than it, lose nothing."""
    sae = CanonicalSAE(**weights(), activation=activation_of(name, parts_of()))
    x = draw(25, D_IN)
    expected, _ = sae.reference(x)
    monkeypatch.setattr(affine, "TILE", tile)
    found = sae.encode(x)
    assert torch.equal(found.to_dense() != 0, expected != 0)
    torch.testing.assert_close(found.to_dense().double(), expected, rtol=1e-5, atol=1e-6)
    for row in range(25):
        assert found.rows(row, row + 1).indices.diff().gt(0).all()


@pytest.mark.parametrize(
    ("d_sae", "activation"),
    [
        (9001, JumpRelu(torch.full((9001,), 2.0))),
        (9000, JumpRelu(torch.tensor(2.0))),
        (9001, Threshold(torch.linspace(-2, 2, 9001))),
        (9001, TopK(20)),
        (9001, TopK(5000)),
        (9001, Relu()),
        (9000, GroupMax(9)),
        (9000, GroupMax(2)),
    ],
)
def test_wide_saes_are_encoded_in_tiles_that_lose_nothing(d_sae, activation):
    """At the real tile size, a width over two tiles and a rest equals the dense formula."""
    sae = CanonicalSAE(W_enc=draw(8, d_sae), W_dec=draw(d_sae, 8), activation=activation)
    x = draw(6, 8, seed=5)
    expected, _ = sae.reference(x)
    assert torch.equal(sae.encode(x).to_dense() != 0, expected != 0)


def test_a_wide_encode_never_holds_all_preactivations(monkeypatch):
    """No tensor of n x d_sae elements is made: memory stays at chunk x tile."""
    largest = 0

    class Watch(torch.utils._python_dispatch.TorchDispatchMode):
        def __torch_dispatch__(self, func, types, args=(), kwargs=None):
            nonlocal largest
            out = func(*args, **(kwargs or {}))
            if isinstance(out, torch.Tensor):
                largest = max(largest, out.numel())
            return out

    n, d_sae = 64, 20_000
    x, matrix = draw(n, 8, seed=5), draw(8, d_sae)
    for activation in (TopK(20), JumpRelu(torch.full((d_sae,), 6.0)), GroupMax(20), AbsTopK(5)):
        sae = CanonicalSAE(W_enc=matrix, W_dec=matrix.T, activation=activation)
        with Watch():
            sae.encode(x)
    assert largest <= n * affine.TILE


def test_no_rows_and_no_codes():
    """An empty batch, and rows without any code, go through encode, decode and reconstruct."""
    for name in NAMES:
        sae = CanonicalSAE(**weights(), activation=activation_of(name, parts_of()))
        empty = sae.encode(torch.zeros(0, 4, D_IN))
        assert empty.shape == (0, 4, D_SAE)
        assert sae.decode(empty).shape == (0, 4, D_OUT)
        assert sae.reconstruct(torch.zeros(0, D_IN)).shape == (0, D_OUT)
    silent = CanonicalSAE(**weights(), b_enc=torch.full((D_SAE,), -1e3), activation=Relu())
    x = draw(3, D_IN)
    assert silent.encode(x).l0().tolist() == [0, 0, 0]
    assert torch.equal(silent.reconstruct(x), silent.b_dec.expand(3, -1))


def test_per_row_codes_need_their_row_statistics_to_decode():
    """Codes whose row_scale was lost do not silently decode at the wrong scale."""
    sae = CanonicalSAE(**weights(), activation=Relu(), normalisation=Normalisation("layer_norm"))
    x = draw(4, D_IN)
    codes = sae.encode(x)
    bare = type(codes)(codes.values, codes.indices, codes.offsets, D_SAE, (4,))
    with pytest.raises(ItemError, match="reconstruct_from"):
        sae.decode(bare)
    assert torch.equal(sae.reconstruct_from(bare, x), sae.reconstruct(x))


def test_a_wrong_width_is_explained():
    """Activations of another width name d_in, what came and the hook point to look at."""
    sae = CanonicalSAE(**weights(), activation=Relu(), hook_in="blocks.2.hook_resid_post")
    with pytest.raises(ItemError, match=r"d_in = 12.*\[4, 13\].*blocks.2.hook_resid_post"):
        sae.encode(draw(4, 13))
    with pytest.raises(ItemError, match="int64"):
        sae.encode(torch.zeros(4, 12, dtype=torch.int64))


def test_non_finite_numbers_are_refused():
    """NaN in activations or weights is an error that says where, never a row of zeros."""
    sae = CanonicalSAE(**weights(), activation=TopK(3))
    x = draw(4, D_IN)
    x[2, 1] = math.nan
    with pytest.raises(ItemError, match="Row 2 of 4"):
        sae.encode(x)
    for name in ("W_enc", "W_dec", "b_dec", "subtract"):
        damaged = {key: value.clone() for key, value in weights().items()}
        damaged[name].view(-1)[3] = math.inf
        with pytest.raises(ItemError, match=name):
            CanonicalSAE(**damaged, activation=Relu())


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"W_dec": torch.zeros(D_SAE + 1, D_OUT)}, "stored the other way round"),
        ({"b_enc": torch.zeros(3)}, r"b_enc .*\[60\]"),
        ({"W_skip": torch.zeros(3, 3)}, "W_skip"),
        ({"head_shape": (5, 5)}, "head_shape"),
        ({"gate_scale": -torch.ones(D_SAE)}, "negative"),
        ({"activation": TopK(D_SAE + 1)}, "k between 1"),
        ({"activation": GroupMax(7)}, "multiple"),
        ({"activation": JumpRelu(torch.zeros(3))}, "threshold"),
        ({"activation": JumpRelu(torch.full((D_SAE,), math.nan))}, "NaN"),
        ({"W_enc": torch.zeros(D_IN, D_SAE, dtype=torch.int64)}, "floating-point"),
    ],
)
def test_weights_that_do_not_fit_are_explained(change, match):
    """Mis-shaped weights are one clear item error at construction."""
    with pytest.raises(ItemError, match=match):
        CanonicalSAE(**({**weights(), "activation": Relu()} | change))
