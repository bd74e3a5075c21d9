"""Articles on ways to train: Theseus, recomputation, masks as dropout."""

from kexue_jax.articles._article import Article

ROWS = (
    Article(
        7367,
        "Recomputation (gradient checkpointing)",
        "节省显存的重计算技巧也有了Keras版了",
        "2020-04-29",
        "recompute",
        (
            "training.MemoryReport",
            "training.RecomputeCost",
            "training.Residual",
            "training.memory_report",
            "training.recompute_cost",
            "training.remat",
            "training.scan_layers",
            "training.segment_length",
            "training.stack_params",
            "training.unstack_params",
        ),
        ("tests/training/test_memory.py", "tests/training/test_recompute.py"),
        ("experiments.recompute",),
    ),
    Article(
        7575,
        "BERT-of-Theseus: progressive module replacing",
        "BERT-of-Theseus：基于模块替换的模型压缩方法",
        "2020-07-17",
        "bert_of_theseus",
    ),
    Article(
        8770,
        "MLM and MAE seen as Dropout; DropToken",
        "Dropout视角下的MLM和MAE：一些新的启发",
        "2021-11-29",
        "mlm_mae_dropout",
    ),
)
