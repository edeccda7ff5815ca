"""Files of weights: whoever wrote them, read without running code; ours, saved and loaded."""

import io
import os
import pickle
import re
import tarfile
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import fitwell as fw
from fitwell.errors import DataError, SettingError
from fitwell.models import build
from fitwell.spec import Spec
from fitwell.weights import fit_weights, read_weights
from fitwell.weights.pretrained import torchvision_file, torchvision_name

PRETRAINED = Path(__file__).resolve().parents[1].parent / "shared" / "data" / "pretrained"


class Tied(nn.Module):
    """An encoder whose weight the decoder shares."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Linear(4, 4)
        self.decoder = nn.Linear(4, 4)
        self.decoder.weight = self.encoder.weight


class Untied(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.decoder = nn.Linear(4, 4), nn.Linear(4, 4)


def net(outputs: int = 3, channels: int = 3) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, outputs)
    )


def written(model: nn.Module, path: Path) -> Path:
    """The model's state dict in the format that the file's ending names."""
    state = model.state_dict()
    if path.suffix == ".safetensors":
        save_file(state, path)
    elif path.suffix == ".npz":
        arrays: dict[str, Any] = {name: tensor.numpy() for name, tensor in state.items()}
        np.savez(path, **arrays)
    else:
        torch.save(state, path)
    return path


@pytest.mark.parametrize("suffix", [".safetensors", ".npz", ".pt", ".pth", ".th", ".bin", ".ckpt"])
def test_every_kind_of_file_gives_the_same_weights(tmp_path: Path, suffix: str) -> None:
    model = net()
    found = read_weights(written(model, tmp_path / f"weights{suffix}"))
    assert sorted(found) == sorted(model.state_dict())
    for name, tensor in model.state_dict().items():
        assert torch.equal(found[name], tensor), name


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("wrapper", ["state_dict", "model", "model_state_dict"])
def test_wrappers_and_prefixes_are_taken_off(tmp_path: Path, wrapper: str, legacy: bool) -> None:
    model = net()
    state = {f"module._orig_mod.{name}": t for name, t in model.state_dict().items()}
    path = tmp_path / "checkpoint.pth"
    checkpoint = {wrapper: state, "epoch": 3, "best": 0.9}
    torch.save(checkpoint, path, _use_new_zipfile_serialization=not legacy)
    assert list(read_weights(path)) == list(model.state_dict())


@pytest.mark.skipif(not PRETRAINED.is_dir(), reason="the public weights are not here")
def test_published_weights_are_read() -> None:
    # A DataParallel model in {"state_dict", "best_prec1"}, in torch's old format.
    resnet = read_weights(PRETRAINED / "resnet20-12fca82f.th")
    assert "conv1.weight" in resnet and sum(t.numel() for t in resnet.values()) > 269_722
    squeezenet = read_weights(PRETRAINED / "squeezenet1_0_imagenet_dc.npz")
    assert sum(t.numel() for t in squeezenet.values()) == 1_248_424


class Bomb:
    """Creates a file when it is unpickled without care."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("how", ["zip", "legacy", "pickle", "npz"])
def test_a_pickle_bomb_is_refused_and_not_run(tmp_path: Path, how: str) -> None:
    crater = tmp_path / "crater"
    state = {"weight": torch.ones(2), "bomb": Bomb(crater)}
    path = tmp_path / "bomb.pth"
    if how == "npz":
        path = tmp_path / "bomb.npz"
        bombs = np.empty(1, object)
        bombs[0] = Bomb(crater)
        np.savez(path, weight=bombs)
    elif how == "pickle":
        path.write_bytes(pickle.dumps(Bomb(crater)))
    else:
        torch.save(state, path, _use_new_zipfile_serialization=how == "zip")
    with pytest.raises(DataError, match=r"could run (code|when it is loaded)") as caught:
        read_weights(path, setting="model.pretrained")
    assert not crater.exists()
    if how in ("zip", "legacy"):
        assert re.search(r"holds code \((posix|nt)\.mkdir\)", caught.value.message)
    assert str(path) in caught.value.message and caught.value.where == str(path)
    assert caught.value.setting == "model.pretrained" and caught.value.exit_code == 2
    if how != "npz":  # the bomb is live: torch.load without care would run it
        torch.load(path, weights_only=False) if how != "pickle" else pickle.loads(path.read_bytes())
        assert crater.exists()


def _truncated(path: Path) -> None:
    data = written(net(), path).read_bytes()
    path.write_bytes(data[: len(data) // 2])


def _noise(path: Path) -> None:
    path.write_bytes(bytes(range(256)) * 4)


def _other_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no weights")


def _tar(path: Path) -> None:
    """As torch.save wrote before 0.1.1: pickles in a tar."""
    with tarfile.open(path, "w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            content = pickle.dumps({"protocol_version": 1000})
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))


def _script(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated, and still what is found in the world
        torch.jit.save(torch.jit.trace(nn.Linear(2, 1), torch.ones(1, 2)), path)


def _sparse(path: Path) -> None:
    torch.save({"ok": torch.ones(2), "w": torch.eye(3).to_sparse()}, path)


def _without_values(path: Path) -> None:
    torch.save({"w": torch.ones(2, device="meta")}, path)


def _not_finite(path: Path) -> None:
    model = net()
    with torch.no_grad():
        model[3].bias[1] = float("nan")  # type: ignore[index]
        model[0].weight[0, 0, 0, 0] = float("inf")  # type: ignore[index]
    written(model, path)


@pytest.mark.parametrize(
    ("name", "make", "said"),
    [
        ("gone.pth", lambda path: None, "does not exist"),
        ("empty.safetensors", lambda path: path.touch(), "is empty"),
        ("folder", lambda path: path.mkdir(), "not one of a run"),
        ("weights.pkl", _noise, "no kind that holds weights"),
        *((f"cut{s}", _truncated, "damaged") for s in (".safetensors", ".npz", ".pth")),
        *((f"noise{s}", _noise, "damaged") for s in (".safetensors", ".npz", ".pth")),
        *((f"other{s}", _other_zip, "damaged|no weights") for s in (".npz", ".pth")),
        ("list.pth", lambda path: torch.save([torch.ones(2)], path), "holds a list"),
        ("none.pth", lambda path: torch.save({"epoch": 3}, path), "holds no weights .it has epoch"),
        ("tar.pth", _tar, r"TorchScript.*both hold code"),
        ("script.pt", _script, r"TorchScript.*both hold code"),
        ("sparse.pth", _sparse, r"no plain numbers: w \("),
        ("meta.pth", _without_values, r"no plain numbers: w \("),
        *((f"nan{s}", _not_finite, r"not finite: 0\.weight, 3\.bias") for s in (".npz", ".pth")),
    ],
)
def test_bad_files_are_refused_with_name_and_reason(
    tmp_path: Path, name: str, make: Any, said: str
) -> None:
    make(tmp_path / name)
    with pytest.raises(DataError, match=said) as caught:
        read_weights(tmp_path / name)
    assert name in caught.value.message and name in caught.value.where


def test_npz_of_other_machines_and_with_texts_is_read(tmp_path: Path) -> None:
    swapped = np.arange(3, dtype=np.float32).astype(">f4")
    np.savez(tmp_path / "w.npz", weight=swapped, classes=np.array(["cat", "dog"]))
    found = read_weights(tmp_path / "w.npz")
    assert list(found) == ["weight"] and found["weight"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("wrapped", ["", "module.", "module._orig_mod."])
def test_a_model_in_a_wrapper_takes_weights_with_and_without_it(
    tmp_path: Path, wrapped: str
) -> None:
    model: nn.Module = net()
    for name in filter(None, reversed(wrapped.split("."))):
        outer = nn.Module()
        outer.add_module(name, model)
        model = outer
    for state in (net().state_dict(), {f"module.{k}": t for k, t in net().state_dict().items()}):
        torch.save(state, tmp_path / "w.pth")
        fw.load(tmp_path / "w.pth", into=model)
        plain = {k.removeprefix("module."): t for k, t in state.items()}
        for name, tensor in model.state_dict().items():
            assert torch.equal(tensor, plain[name.removeprefix(wrapped)]), name
    fw.save(model, tmp_path / "own.safetensors")
    again = fw.load(tmp_path / "own.safetensors", into=net())
    assert torch.equal(again[0].weight, plain["0.weight"])
    assert fit_weights(model, net(5).state_dict()).new == (
        f"{wrapped}3.weight",
        f"{wrapped}3.bias",
    )


def test_a_model_never_takes_weights_that_are_not_finite(tmp_path: Path) -> None:
    model, kept = net(), net()
    before = kept[0].weight.clone()  # type: ignore[union-attr, operator]
    with torch.no_grad():
        model[3].bias[1] = float("nan")  # type: ignore[index]
    fw.save(model, tmp_path / "own.safetensors")
    assert fw.load(tmp_path / "own.safetensors")["3.bias"].isnan().any()  # data may be so
    # Finite in float64, and not in the model's float32.
    huge: dict[str, Any] = {n: t.double().numpy() for n, t in net().state_dict().items()}
    huge["3.bias"] = huge["3.bias"] + 1e300
    huge["1.num_batches_tracked"] = np.array(1)
    np.savez(tmp_path / "huge.npz", **huge)
    for name in ("own.safetensors", "huge.npz"):
        with pytest.raises(DataError, match=r"not finite: 3\.bias") as caught:
            fw.load(tmp_path / name, into=kept)
        assert name in caught.value.where
    with pytest.raises(DataError, match=r"not finite: 3\.bias"):
        fit_weights(kept, read_weights(tmp_path / "huge.npz"), setting="model.pretrained")
    assert torch.equal(kept[0].weight, before)  # type: ignore[arg-type]


def test_a_head_alone_has_nothing_to_take_over() -> None:
    model = nn.Sequential(nn.Flatten(), nn.Linear(4, 2))
    other = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    with pytest.raises(DataError, match=r"Nothing of w\.pth.*Leave model\.pretrained out"):
        fit_weights(model, other.state_dict(), source="w.pth", setting="model.pretrained")
    assert fit_weights(model, model.state_dict()).new == ()


def test_an_array_without_names_is_refused(tmp_path: Path) -> None:
    buffer = io.BytesIO()
    np.save(buffer, np.ones(3))
    (tmp_path / "one.npz").write_bytes(buffer.getvalue())
    with pytest.raises(DataError, match="without a name"):
        read_weights(tmp_path / "one.npz")


def test_a_head_of_another_shape_stays_new(tmp_path: Path) -> None:
    source, model = net(10), net(3)
    head = model[3].weight.clone()  # type: ignore[union-attr]
    fitted = fit_weights(model, source.state_dict())
    assert fitted.new == ("3.weight", "3.bias") and "1.running_var" in fitted.loaded
    assert torch.equal(model[0].weight, source[0].weight)  # type: ignore[arg-type]
    assert torch.equal(model[3].weight, head)  # type: ignore[arg-type]
    same = fit_weights(net(10), source.state_dict())
    assert same.new == ()
    headless = {k: v for k, v in source.state_dict().items() if not k.startswith("3.")}
    assert fit_weights(net(3), headless).new == ("3.weight", "3.bias")


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    state = net(10).state_dict()
    state["0.weight"] = torch.ones(5, 3, 3, 3)
    del state["1.weight"]
    state["extra.weight"] = torch.ones(1)
    with pytest.raises(DataError) as caught:
        fit_weights(net(), state, source="old.pth", setting="model.pretrained")
    message = caught.value.message
    assert "0.weight is [5, 3, 3, 3] there and [4, 3, 3, 3] here" in message
    assert "missing in it: 1.weight" in message and "unknown to the model: extra.weight" in message
    assert "old.pth" in message and caught.value.setting == "model.pretrained"
    assert caught.value.where == "0.weight, 1.weight, extra.weight"
    whole = net(10).state_dict() | {"0.weight": torch.ones(4, 3, 3, 3, dtype=torch.int8)}
    with pytest.raises(DataError, match=r"0.weight is \[4, 3, 3, 3\] int8 there"):
        fit_weights(net(), whole)


def test_a_first_convolution_is_summed_to_read_grey() -> None:
    source, grey = net(3), net(3, channels=1)
    fitted = fit_weights(grey, source.state_dict())
    assert fitted.new == () and "summed" in fitted.notes[0]
    x = torch.randn(2, 1, 4, 4)
    source.eval(), grey.eval()
    torch.testing.assert_close(grey(x), source(x.expand(-1, 3, -1, -1)))
    with pytest.raises(DataError, match=r"other shapes: 0\.weight"):
        fit_weights(net(3, channels=2), source.state_dict())


def test_a_transformer_that_reads_grey_takes_the_sum_too() -> None:
    """Its class token is defined before the convolution, and is no weight."""
    source, grey = (
        build(
            "vit",
            Spec("images", "classification", (channels, 8, 8), ("a", "b")),
            {"width": 8, "depth": 1, "patch": 4},
        ).eval()
        for channels in (3, 1)
    )
    fitted = fit_weights(grey, source.state_dict())
    assert fitted.new == () and "conv_proj.weight is summed" in fitted.notes[0]
    x = torch.randn(2, 1, 8, 8)
    torch.testing.assert_close(grey(x), source(x.expand(-1, 3, -1, -1)))


def test_older_files_without_batch_counts_and_with_auxiliary_heads_fit() -> None:
    state = {k: v for k, v in net().state_dict().items() if not k.endswith("tracked")}
    model = net()
    fit_weights(model, state | {"aux1.fc.weight": torch.ones(1), "AuxLogits.b": torch.ones(1)})
    assert torch.equal(model.state_dict()["0.weight"], state["0.weight"])


@pytest.mark.parametrize(
    "value",
    [
        torch.randn(3, 2),
        torch.tensor(3),
        torch.ones(2, dtype=torch.bfloat16),
        torch.empty(0),
        [torch.ones(2), torch.zeros(1)],
        {"a": {"b": [torch.ones(1), 2.5, "text", None, True]}, "c": (torch.ones(2), ()), "d": {}},
        {"a.b": torch.ones(1), "a": {"b": torch.zeros(1)}},
        [],
    ],
)
def test_what_is_saved_is_loaded(tmp_path: Path, value: Any) -> None:
    path = tmp_path / "value.safetensors"
    fw.save(value, path)

    def same(a: Any, b: Any) -> bool:
        if isinstance(a, torch.Tensor):
            return a.dtype == b.dtype and torch.equal(a, b)
        if isinstance(a, dict):
            return list(a) == list(b) and all(same(a[k], b[k]) for k in a)
        if isinstance(a, list | tuple):
            return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
        return type(a) is type(b) and a == b

    assert same(value, fw.load(path))


def test_tied_tensors_are_stored_once_and_tied_again(tmp_path: Path) -> None:
    model, path = Tied(), tmp_path / "tied.safetensors"
    fw.save(model, path)
    with safe_open(path, "pt") as file:
        assert sorted(file.keys()) == ["decoder.bias", "encoder.bias", "encoder.weight"]
    state = fw.load(path)
    assert state["decoder.weight"] is state["encoder.weight"]
    again = fw.load(path, into=Tied())
    assert not again.training and again.decoder.weight is again.encoder.weight
    assert torch.equal(again.encoder.weight, model.encoder.weight)
    views = torch.arange(6.0).reshape(2, 3)
    fw.save([views, views[0], views.T], path)  # one memory, three tensors
    loaded = fw.load(path)
    assert torch.equal(loaded[1], views[0]) and torch.equal(loaded[2], views.T)


def test_tensors_are_read_in_the_order_of_the_network(tmp_path: Path) -> None:
    path = tmp_path / "m.safetensors"
    for model in (Tied(), net(), nn.Sequential(*(nn.Linear(1, 1) for _ in range(12)))):
        fw.save(model, path)
        assert list(read_weights(path)) == list(model.state_dict())


def test_a_tied_parameter_from_an_untied_file(tmp_path: Path) -> None:
    untied, path = Untied(), tmp_path / "untied.safetensors"
    fw.save(untied, path)
    with pytest.raises(DataError, match=r"encoder\.weight and decoder\.weight are one parameter"):
        fw.load(path, into=Tied())
    with torch.no_grad():
        untied.decoder.weight.copy_(untied.encoder.weight)
    fw.save(untied, path)
    assert torch.equal(fw.load(path, into=Tied()).decoder.weight, untied.encoder.weight)


def test_what_only_pickles_could_hold_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.1 is a object, which only pickled code"):
        fw.save({"a": [1, object()]}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match="has the key 3"):
        fw.save({3: torch.ones(1)}, tmp_path / "x.safetensors")
    with pytest.raises(DataError, match=r"ends in \.safetensors"):
        fw.save(torch.ones(1), tmp_path / "x.pt")
    assert not list(tmp_path.iterdir())


def test_load_reads_others_files_and_refuses_what_is_no_model(tmp_path: Path) -> None:
    model = net()
    loaded = fw.load(written(model, tmp_path / "theirs.pth"), into=net())
    assert torch.equal(loaded[0].weight, model[0].weight)  # type: ignore[arg-type]
    with pytest.raises(DataError, match=r"other shapes: 3\.weight"):
        fw.load(tmp_path / "theirs.pth", into=net(5))  # no new head here
    fw.save([torch.ones(1)], tmp_path / "list.safetensors")
    with pytest.raises(DataError, match="no weights of a model"):
        fw.load(tmp_path / "list.safetensors", into=net())
    _truncated(tmp_path / "cut.safetensors")
    with pytest.raises(DataError, match="damaged"):
        fw.load(tmp_path / "cut.safetensors")


def _served(folder: Path, monkeypatch: pytest.MonkeyPatch, checksum: str = "") -> Path:
    """torchvision's file of squeezenet1_1 as a made one of a file:// address; an empty cache."""
    import hashlib

    from torchvision.models import SqueezeNet1_1_Weights, squeezenet1_1

    served = folder / "made.pth"
    torch.save(squeezenet1_1().state_dict(), served)
    digest = checksum or hashlib.sha256(served.read_bytes()).hexdigest()[:8]
    named = served.rename(folder / f"squeezenet1_1-{digest}.pth")
    weights = SqueezeNet1_1_Weights.DEFAULT.value
    monkeypatch.setattr(
        "torchvision.models.squeezenet.SqueezeNet1_1_Weights.IMAGENET1K_V1._value_",
        type(weights)(url=named.as_uri(), transforms=weights.transforms, meta=weights.meta),
    )
    monkeypatch.setenv("FITWELL_CACHE", str(folder / "cache"))
    return named


def test_torchvisions_weights_are_downloaded_once_and_checked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    served = _served(tmp_path, monkeypatch)
    monkeypatch.setenv("FITWELL_OFFLINE", "1")
    with pytest.raises(SettingError, match="FITWELL_OFFLINE=1 forbids") as caught:
        torchvision_file("squeezenet1_1")
    assert served.name in caught.value.message
    monkeypatch.delenv("FITWELL_OFFLINE")
    path = torchvision_file("squeezenet1_1")
    assert path.is_relative_to(tmp_path / "cache") and len(read_weights(path)) == 52
    served.unlink()
    assert torchvision_file("squeezenet1_1") == path  # from the cache


def test_a_download_with_another_checksum_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _served(tmp_path, monkeypatch, checksum="0123abcd")
    with pytest.raises(SettingError, match=r"could not be downloaded.*hash"):
        torchvision_file("squeezenet1_1")
    assert not list((tmp_path / "cache" / "weights").iterdir())


def test_the_families_are_named_as_torchvision_names_them() -> None:
    assert torchvision_name("resnet", {"depth": 50}) == "resnet50"
    assert torchvision_name("vgg", {"depth": 13, "norm": "batch"}) == "vgg13_bn"
    assert torchvision_name("vgg", {"depth": 13, "norm": "none"}) == "vgg13"
    assert torchvision_name("vit", {"depth": 12, "patch": 16}) == "vit_b_16"
    assert torchvision_name("torchvision:densenet121", {}) == "densenet121"
    assert torchvision_name("inception", {}) == torchvision_name("googlenet", {}) == "googlenet"
    for name, settings in (("lenet", {}), ("resnet", {"depth": 20}), ("vit", {"depth": 6})):
        with pytest.raises(SettingError, match="torchvision has no weights for"):
            torchvision_name(name, settings)


def test_old_densenet_names_are_understood() -> None:
    from torchvision.models import DenseNet

    model = DenseNet(4, (1, 1, 1, 1), 4, num_classes=3)
    old = {
        name.replace("norm1.", "norm.1.").replace("conv2.", "conv.2.")
        if "denselayer" in name
        else name: tensor
        for name, tensor in model.state_dict().items()
    }
    assert set(old) != set(model.state_dict())
    other = DenseNet(4, (1, 1, 1, 1), 4, num_classes=3)
    assert fit_weights(other, old).new == ()
    assert all(
        torch.equal(a, b) for a, b in zip(other.parameters(), model.parameters(), strict=True)
    )
