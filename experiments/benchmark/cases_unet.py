"""The hot path of the main job: a U-Net's train step, and sampling with it."""

from experiments.benchmark.case import Case, Peer, Prepared
from experiments.benchmark.networks import Size, sample, train
from experiments.benchmark.peers_flaxdiff import flaxdiff_sample, flaxdiff_train
from experiments.benchmark.peers_unet import (
    diffusers_unet,
    lucidrains_unet,
    torch_sample,
    torch_train,
)

SIZES = {
    "digits": Size(128, 8, 1, 32, (1, 2), 1),
    "color": Size(8, 32, 3, 64, (1, 2, 2), 2),
}


def train_case(name: str, size: Size) -> Case:
    """Forward, backward and Adam beside the peers."""
    return Case(
        f"unet.train_{name}",
        size.inputs,
        Prepared(train(size, spread=True)),
        Prepared(train(size, spread=False)),
        (
            Peer("diffusers", torch_train(size, diffusers_unet)),
            Peer(
                "denoising-diffusion-pytorch",
                torch_train(size, lucidrains_unet),
                equal=False,
            ),
            Peer("flaxdiff", flaxdiff_train(size), equal=False),
        ),
        tolerance=1e-4,
        goal=0.9,
        about=f"train step of a U-Net, {size}; twin: on one device",
    )


def sample_case(name: str, size: Size) -> Case:
    """Ten steps of DDIM beside the peers."""
    return Case(
        f"unet.sample_{name}",
        size.inputs,
        Prepared(sample(size, spread=True)),
        Prepared(sample(size, spread=False)),
        (
            Peer("diffusers", torch_sample(size, diffusers_unet)),
            Peer(
                "denoising-diffusion-pytorch",
                torch_sample(size, lucidrains_unet),
                equal=False,
            ),
            Peer("flaxdiff", flaxdiff_sample(size), equal=False),
        ),
        tolerance=1e-3,
        goal=0.8,
        about=f"ten steps of DDIM with a U-Net, {size}; twin: on one device",
    )


CASES = tuple(
    make(name, size)
    for name, size in SIZES.items()
    for make in (train_case, sample_case)
)
