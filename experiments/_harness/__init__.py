"""The harness on which every experiment stands; nothing of it enters ``kexue_jax``.

An experiment is one file: a config, presets, and a main that owns loss, model, data
and evaluation::

    @dataclasses.dataclass(frozen=True, kw_only=True)
    class Config(BaseConfig):
        num_steps: int = setting(3000, "training steps", minimum=1)
        learning_rate: float = setting(1e-3, "step size", minimum=0, open_minimum=True)
        data_dir: str = setting("", "folder of the data", shapes_run=False)

    PRESETS = {"smoke": {"num_steps": 20}}

    def main(config: Config) -> None:
        images = load_images("digits", config.data_dir)  # before any folder is made
        run = open_run(config)  # config.json; refuses, resumes, or says it is finished
        batches = Batches(images.train(), 128, config.seed)
        mesh = data_mesh(128)
        state = replicate(mesh, {"params": params, "opt": opt, "key": key})
        state = loop.run(
            jit_step(step, state), state, batches, num_steps=config.num_steps,
            mesh=mesh, checkpointer=run.checkpointer(), metrics=run.metrics(),
        )
        claim = judge("the loss falls", {"start": a, "end": b}, rule="end < start",
                      confirmed=lambda m: m["end"] < m["start"])
        image_grid(run.path("samples.png"), samples)
        write_results(run, [claim], [Table("Loss", ["step", "loss"], rows)])
        write_report(run.folder)

    if __name__ == "__main__":
        launch(main, Config, PRESETS, __doc__)
"""
