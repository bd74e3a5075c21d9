"""U-Nets of other libraries as peers: a train step and ten steps of DDIM."""

import time
from collections.abc import Callable
from typing import Any

from experiments._harness.extras import need
from experiments.benchmark.case import Form
from experiments.benchmark.networks import DDIM_STEPS, LEARNING_RATE, Size, T
from experiments.benchmark.peers_diffusers import all_threads, scheduler, to_torch
from kexue_jax import diffusion


def diffusers_unet(size: Size) -> tuple[Any, Callable[..., Any]]:
    """``UNet2DModel`` of plain blocks, and how to call it."""
    diffusers = need("diffusers", "bench")

    stages = len(size.multipliers)
    network = diffusers.UNet2DModel(
        sample_size=size.side,
        in_channels=size.channels,
        out_channels=size.channels,
        layers_per_block=size.blocks,
        block_out_channels=tuple(size.width * m for m in size.multipliers),
        down_block_types=("DownBlock2D",) * stages,
        up_block_types=("UpBlock2D",) * stages,
        norm_num_groups=size.groups,
        add_attention=False,
    )
    return network, lambda x, t: network(x, t, return_dict=False)[0]


def lucidrains_unet(size: Size) -> tuple[Any, Callable[..., Any]]:
    """``Unet`` of denoising-diffusion-pytorch: attention at every stage."""
    denoising_diffusion_pytorch = need("denoising_diffusion_pytorch", "bench")

    network = denoising_diffusion_pytorch.Unet(
        size.width, channels=size.channels, dim_mults=size.multipliers
    )
    return network, network


def torch_train(size: Size, make: Callable[[Size], Any]) -> Callable[..., Form]:
    """``build(x, t, noise)``: forward, backward, fused Adam, in the faster layout."""

    def build(*inputs: Any) -> Form:
        torch = need("torch", "bench")

        all_threads()
        torch.manual_seed(0)
        network, call = make(size)
        optimizer = torch.optim.Adam(network.parameters(), lr=LEARNING_RATE, fused=True)

        def step(x: Any, t: Any, noise: Any) -> None:
            optimizer.zero_grad(set_to_none=True)
            torch.nn.functional.mse_loss(call(x, t), noise).backward()
            optimizer.step()

        return _fastest_layout(network, call, step, inputs)

    return build


def torch_sample(size: Size, make: Callable[[Size], Any]) -> Callable[..., Form]:
    """``build(x, t, noise)``: diffusers' DDIM loop around the network."""

    def build(*inputs: Any) -> Form:
        torch = need("torch", "bench")

        all_threads()
        torch.manual_seed(0)
        network, call = make(size)
        network.eval()
        rates = scheduler(
            "DDIMScheduler",
            diffusion.kexue_schedule(T=T),
            timestep_spacing="trailing",
        )
        rates.set_timesteps(DDIM_STEPS)

        def draw(x: Any, t: Any, noise: Any) -> None:
            with torch.inference_mode():
                for now in rates.timesteps:
                    eps = call(x, now.expand(len(x)))
                    x = rates.step(eps, now, x).prev_sample

        return _fastest_layout(network, call, draw, inputs)

    return build


def _fastest_layout(
    network: Any, call: Any, run: Callable[..., Any], inputs: tuple[Any, ...]
) -> Form:
    """The form in the memory layout that three calls of each found faster."""
    torch = need("torch", "bench")

    tried = {}
    for layout in (torch.contiguous_format, torch.channels_last):
        network.to(memory_format=layout)
        x, t, noise = (to_torch(array) for array in inputs)
        placed = (x.contiguous(memory_format=layout), t.long() - 1)
        placed += (noise.contiguous(memory_format=layout),)
        run(*placed)
        tried[layout] = (min(_seconds(run, placed) for _ in range(3)), placed)
    best = min(tried, key=lambda layout: tried[layout][0])
    network.to(memory_format=best)
    placed = tried[best][1]
    return Form(
        lambda: run(*placed),
        work=_work(network, call, placed),
        facts={"layout": str(best), "threads": torch.get_num_threads()},
    )


def _seconds(run: Callable[..., Any], placed: tuple[Any, ...]) -> float:
    begun = time.perf_counter()
    run(*placed)
    return time.perf_counter() - begun


def _work(network: Any, call: Any, placed: tuple[Any, ...]) -> dict[str, float]:
    torch = need("torch", "bench")
    counting = need("torch.utils.flop_counter", "bench")

    counter = counting.FlopCounterMode(display=False)
    with counter, torch.no_grad():
        call(*placed[:2])
    return {
        "parameters": sum(p.numel() for p in network.parameters()),
        "flops": counter.get_total_flops(),
    }
