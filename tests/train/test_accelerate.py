"""The shipped settings for several GPUs are read by accelerate's own parsers. Training under them is not run here."""

import json
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "train" / "accelerate"


def test_accelerate_launches_fsdp_2_with_the_shipped_file(monkeypatch) -> None:
    """The launcher's own way: file, flags, environment, and the plugin that a process makes of that."""
    from accelerate import FullyShardedDataParallelPlugin
    from accelerate.commands.config.config_args import load_config_from_file
    from accelerate.commands.launch import _validate_launch_command, launch_command_parser
    from accelerate.utils.launch import prepare_multi_gpu_env

    file = FOLDER / "fsdp.yaml"
    config = load_config_from_file(str(file))
    assert (config.distributed_type, config.num_processes, config.mixed_precision) == ("FSDP", 8, "bf16")
    given = launch_command_parser().parse_args(["--config_file", str(file), "--main_process_port", "0", "train/sft.py"])
    arguments, _, _ = _validate_launch_command(given)
    assert arguments.use_fsdp and arguments.num_processes == 8
    for name, value in prepare_multi_gpu_env(arguments).items():
        if name.startswith(("FSDP_", "ACCELERATE_")):
            monkeypatch.setenv(name, value)
    plugin = FullyShardedDataParallelPlugin()
    assert plugin.fsdp_version == 2 and plugin.reshard_after_forward is True and plugin.cpu_ram_efficient_loading
    assert "transformer_auto_wrap_policy" in str(plugin.auto_wrap_policy) and "FULL" in str(plugin.state_dict_type)


@pytest.mark.parametrize("stage", [2, 3])
def test_deepspeeds_settings_are_read_and_leave_the_numbers_to_the_flags(stage) -> None:
    """accelerate's reader needs no deepspeed; what deepspeed itself makes of them is not tried."""
    from accelerate.utils.deepspeed import HfDeepSpeedConfig

    file = FOLDER / f"zero{stage}.json"
    config = HfDeepSpeedConfig(str(file))
    assert (config.is_zero2(), config.is_zero3()) == (stage == 2, stage == 3) and not config.is_offload()
    for name in ("train_micro_batch_size_per_gpu", "gradient_accumulation_steps", "gradient_clipping", "bf16.enabled"):
        assert config.get_value(name) == "auto"
    assert json.loads(file.read_text()).keys() <= {
        "bf16",
        "zero_optimization",
        "gradient_accumulation_steps",
        "gradient_clipping",
        "train_batch_size",
        "train_micro_batch_size_per_gpu",
    }
