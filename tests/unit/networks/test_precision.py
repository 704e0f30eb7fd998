"""`auto` takes bfloat16 where the processor computes with it, and float32 elsewhere."""

import pytest
import torch

from affinitynet.networks import cpu
from affinitynet.networks.precision import uses_bfloat16

CPU = torch.device("cpu")


@pytest.fixture
def processor(monkeypatch):
    """Have torch report a processor with these instructions, as oneDNN is held to a limit."""

    def pretend(*, avx512_bf16=False, amx=False, onednn=True, limit=None):
        has = {"avx512_bf16": avx512_bf16, "amx_bf16": amx}
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
        monkeypatch.setattr(cpu, "supports_bfloat16", lambda: onednn)
        for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
            monkeypatch.delenv(name, raising=False)
        if limit:
            monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", limit)
        uses_bfloat16.cache_clear()

    yield pretend
    uses_bfloat16.cache_clear()


@pytest.mark.parametrize(
    ("has", "takes"),
    [
        ({"amx": True, "avx512_bf16": True}, True),
        ({"avx512_bf16": True}, True),
        ({}, False),  # AVX-512 without bfloat16: oneDNN takes it, and is slower than in float32
        ({"onednn": False}, False),  # AVX2
        ({"amx": True, "avx512_bf16": True, "limit": "AVX512_CORE"}, False),
        ({"amx": True, "avx512_bf16": True, "limit": "avx512_core_vnni"}, False),
        ({"amx": True, "avx512_bf16": True, "limit": "AVX512_CORE_BF16"}, True),
        ({"amx": True, "avx512_bf16": True, "limit": "AVX2", "onednn": False}, False),
    ],
)
def test_auto_takes_what_the_processor_is_fast_at(processor, has, takes, caplog):
    processor(**has)
    with caplog.at_level("INFO"):
        assert uses_bfloat16("auto", CPU) is takes
        assert uses_bfloat16("auto", CPU) is takes
    (line,) = caplog.messages  # once
    assert ("bfloat16" if takes else "float32") in line.split(",")[0]
    if limit := has.get("limit"):
        assert takes or limit in line


@pytest.mark.parametrize(
    ("asked", "takes"), [(True, True), ("bfloat16", True), (False, False), ("float32", False)]
)
def test_what_is_asked_for_is_taken(processor, asked, takes, caplog):
    processor()
    assert uses_bfloat16(asked, CPU) is takes
    assert ("bfloat16 is slower than float32 here" in caplog.text) is takes


def test_what_is_no_precision_is_refused():
    with pytest.raises(ValueError, match="'half'; give auto, bfloat16, float32, true or false"):
        uses_bfloat16("half", CPU)


@pytest.mark.parametrize("has", [True, False])
def test_auto_asks_the_gpu(monkeypatch, has):
    def is_supported(including_emulation):
        assert not including_emulation
        return has

    monkeypatch.setattr(torch.cuda, "is_bf16_supported", is_supported)
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    uses_bfloat16.cache_clear()
    assert uses_bfloat16("auto", torch.device("cuda")) is has
    uses_bfloat16.cache_clear()


def test_an_older_torch_is_asked_in_its_way(monkeypatch):
    monkeypatch.delattr(torch.cpu, "get_capabilities", raising=False)
    monkeypatch.setattr(torch.cpu, "_is_avx512_bf16_supported", lambda: True, raising=False)
    monkeypatch.delattr(torch.cpu, "_is_amx_tile_supported", raising=False)
    assert cpu._instructions() == ["AVX512_BF16"]
