"""Tiny inputs of docs/paper.md: random Stable Diffusion and IFRNet files, and sources of clips."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.support.numbered_clips import write_frames
from tests.support.torch_ifrnet import IFRNet
from tests.support.torch_stable_diffusion import SD1, build_models, save_folder

CLIPS = 4  # of each source


def write_sources() -> None:
    """Writes the page's inputs, under its names, to the working directory."""
    save_folder(build_models(SD1), SD1, Path("SOURCE"))
    network = IFRNet((8, 12, 13, 14), 4, 3)  # finest levels as of tiny's flow, to start it from
    torch.save(network.state_dict(), "IFRNet.pth")
    write_captioned(Path("webvid"))
    write_high_fps(Path("high_fps"))
    write_ucf101(Path("ucf101"))


def write_captioned(folder: Path) -> None:
    """Writes clips of 30 frames per second in WebVid's layout."""
    rows = ["videoid,contentUrl,duration,page_dir,name"]
    for number in range(CLIPS):
        write_moving(folder / f"videos/000001_000050/{number:03}.mp4", 31, 30, 64)
        rows.append(f"{number:03},https://x,PT00H00M01S,000001_000050,clip {number}")
    (folder / "results_10M_train.csv").write_text("\n".join(rows) + "\n")


def write_high_fps(folder: Path) -> None:
    """Writes files of 60 frames per second, each with two parts in a list without captions."""
    rows = ["path,caption,start,end"]
    for number in range(CLIPS // 2):
        write_moving(folder / f"{number}.mp4", 61, 60, 64)
        rows += [f"{number}.mp4,,0,0.5", f"{number}.mp4,,0.5,1"]
    (folder / "clips.csv").write_text("\n".join(rows) + "\n")


def write_ucf101(folder: Path) -> None:
    """Writes one class of UCF-101 with its list, and a file of prompts."""
    names = [f"Archery/v_Archery_g01_c{number:02}.avi" for number in range(CLIPS)]
    for name in names:
        write_moving(folder / "UCF-101" / name, 17, 25, 128, codec="mpeg4")
    lists = folder / "ucfTrainTestlist"
    lists.mkdir()
    (lists / "trainlist01.txt").write_text("".join(f"{name} 3\n" for name in names))
    Path("prompts.json").write_text(json.dumps({"Archery": "a bow"}))


def write_moving(path: Path, frames: int, rate: int, side: int, **options: Any) -> None:
    """Writes a clip of a pattern that moves to the right."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wave = np.cos(np.linspace(0, 2 * np.pi, side, endpoint=False))
    colours = np.outer(wave, wave), np.outer(1 + wave, wave) / 2, np.tile(-wave, (side, 1))
    picture = (127 + 100 * np.stack(colours, axis=-1)).astype(np.uint8)
    write_frames(path, [np.roll(picture, k, axis=1) for k in range(frames)], rate=rate, **options)
