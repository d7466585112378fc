"""How the processor and the GPUs of a machine are named."""

from __future__ import annotations

from pathlib import Path

from modelshelf.start.hardware import describe_cpu, list_gpus


def test_a_processor_is_known_by_its_instruction_sets(tmp_path: Path) -> None:
    """Flags in another order mean the same processor; one flag less means another."""
    (tmp_path / "proc").mkdir()
    file = tmp_path / "proc/cpuinfo"
    descriptions = []
    for flags in ("avx avx2", "avx2 avx", "avx"):
        file.write_text(f"processor\t: 0\nmodel name\t: CPU X\nflags\t\t: {flags}\n" * 2)
        descriptions.append(describe_cpu(str(tmp_path)))
    assert descriptions[0] == descriptions[1] != descriptions[2]
    assert descriptions[0].startswith("CPU X ")


def test_gpus_are_known_by_their_names(tmp_path: Path) -> None:
    """Two GPUs of a kind have one name, and a machine without GPUs has none."""
    assert list_gpus(str(tmp_path)) == ()
    for bus in ("0000:01:00.0", "0000:02:00.0"):
        folder = tmp_path / "proc/driver/nvidia/gpus" / bus
        folder.mkdir(parents=True)
        (folder / "information").write_text("Model: \t\t NVIDIA H100\nIRQ: 1\n")
    assert list_gpus(str(tmp_path)) == ("nvidia NVIDIA H100",)
