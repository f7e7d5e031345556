"""Names of other programs' options, and what they are called here."""

import itertools
import sys
from collections.abc import Mapping, Sequence

TRAINING_NAMES = {
    "optim.lr": "--optim.learning-rate",
    "lr": "--optim.learning-rate",
    "learning_rate": "--optim.learning-rate",
    "lr_scheduler": "--optim.schedule",
    "lr_warmup_steps": "--optim.warmup-steps",
    "optim.beta1": "--optim.b1",
    "optim.beta2": "--optim.b2",
    "adam_beta1": "--optim.b1",
    "adam_beta2": "--optim.b2",
    "adam_epsilon": "--optim.epsilon",
    "adam_weight_decay": "--optim.weight-decay",
    "weight_decay": "--optim.weight-decay",
    "max_grad_norm": "--optim.clip-norm",
    "max_train_steps": "--steps",
    "num_steps": "--steps",
    "train_batch_size": "--batch-size",
    "bs": "--batch-size",
    "gradient_accumulation_steps": "--accumulate",
    "gradient_checkpointing": "--compute.remat blocks",
    "mixed_precision": "--compute.dtype bfloat16",
    "dtype": "--compute.dtype",
    "bf16": "--compute.dtype bfloat16",
    "output_dir": "--run-dir",
    "logging_dir": "--run-dir",
    "pretrained_model_name_or_path": "--model-dir",
    "resume_from_checkpoint": "the same command again: it resumes the run in --run-dir",
    "checkpointing_steps": "--loop.checkpoint-every",
    "validation_steps": "--loop.sample-every",
    "checkpoints_total_limit": "--loop.keep-checkpoints",
    "dataset_name": "--data.dataset",
    "train_data_dir": "--data.dataset",
    "resolution": "--data.resolution",
    "num_frames": "--data.num-frames",
    "num_workers": "--data.num-workers",
    "dataloader_num_workers": "--data.num-workers",
    "ema_decay": "--loop.ema-decay",
}
"""What to say to the training commands for options of diffusers' scripts and short forms."""


def refuse_other_names(prog: str, arguments: Sequence[str], names: Mapping[str, str]) -> None:
    """Exits with 2, as for any unknown flag, and says what to use for a name of `names`.

    Args:
        prog: name of the command in the message.
        arguments: the command line.
        names: what to use, by the other name with underscores.
    """
    for word in itertools.takewhile(lambda word: word != "--", arguments):
        flag = word.partition("=")[0]
        name = flag.removeprefix("--").replace("-", "_")
        if flag.startswith("--") and name in names:
            print(
                f"{prog}: error: there is no option {flag}, use {names[name]} (`{prog} --help`)",
                file=sys.stderr,
            )
            sys.exit(2)
