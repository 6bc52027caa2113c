"""The names that a user can choose from, in the config or on the command line. Imports nothing."""

MODELS = ("small_cnn", "resnet20", "resnet18", "vgg16", "wide_resnet")
"""Values of `model.name`: functions of `rsr_tf.models`. Others are `keras:NAME`, see `rsr_tf.config.networks`."""

DATA_SETS = ("digits", "cifar10", "npz", "folder", "tfds:NAME")
"""Values of `data.name`, see `rsr_tf.data.load`; `NAME` after a colon stands for any name."""

DATA_CACHES = ("auto", "memory", "stream")
"""Values of `data.cache`."""

AUGMENTATIONS = (
    "crop_and_flip",
    *("AutoContrast", "Equalization", "RandAugment", "RandomBrightness", "RandomColorDegeneration", "RandomContrast"),
    *("RandomErasing", "RandomFlip", "RandomGaussianBlur", "RandomGrayscale", "RandomHue", "RandomInvert"),
    *("RandomPosterization", "RandomRotation", "RandomSaturation", "RandomSharpness", "RandomShear"),
    *("RandomTranslation", "RandomZoom", "Solarization"),
)
"""Values of the list `data.augment`."""

LABEL_MIXING = ("CutMix", "MixUp")
"""Layers of Keras that `data.augment` refuses, as they need labels that are shares of classes."""

CLASS_WEIGHTS = ("none", "balanced")
"""Values of `data.class_weights`."""

NOISE_KINDS = ("channel", "layer", "element", "none")
"""Values of `model.noise`: one noise scale per filter, layer or weight, or no noise."""

LASSO_STEPS = ("gradient", "proximal")
"""Values of `model.lasso_step`."""

LABEL_SOURCES = ("true", "predicted")
"""Values of `attack.labels`."""

NORMS = ("linf", "l2")
"""Values of `attack.norm`: keys of `rsr_tf.attacks.norms.NORMS`."""

OBJECTIVES = ("adversarial-training",)
"""Values of `training.objective`: keys of `rsr_tf.training.objectives.OBJECTIVES`."""

OVERFITTING_WATCHES = ("off", "warn", "multi-step")
"""Values of `attack.overfitting_watch`."""

OPTIMIZERS = (
    *("sgd", "adam", "adamw", "adadelta", "adafactor", "adagrad", "adamax", "ftrl", "lamb", "lion", "muon", "nadam"),
    "rmsprop",
)
"""Values of `training.optimizer`: classes of `keras.optimizers` in lower case."""

LEARNING_RATE_SCHEDULES = ("constant", "steps", "cosine")
"""Values of `training.schedule`."""

KEPT_EPOCHS = ("last", "best")
"""Values of `training.keep`."""

PRECISIONS = ("float32", "mixed_bfloat16", "mixed_float16")
"""Values of `training.precision`: Keras dtype policies."""

DEVICES = ("one", "all")
"""Values of `training.devices`: one device, or all GPUs of the host."""

SCOPES = ("global", "layer")
"""Values of `pruning.scope`."""

PRUNING_SCHEDULES = ("one-shot", "constant", "polynomial", "rounds", "admm")
"""Values of `pruning.schedule`."""

SUITES = ("full", "paper", "standard-random", "quick")
"""Suites of attacks, strongest first."""

NETWORKS = ("pruned", "trained", "undefended")
"""Networks of a run that a suite can attack."""

ZOO_TIERS = ("1", "2")
"""Settings of ZOO: one trade-off constant, or a binary search for it."""

ZOO_NOISES = ("shared", "per_image", "averaged", "off")
"""How ZOO handles the noise of its target, see `rsr_tf.evaluation.ZOOSettings`; `"off"` attacks without noise."""

GRID_COLUMNS = (
    *("clean", "pgd", "fgsm", "sparsity", "claim"),
    *("noise_off_clean", "noise_off_pgd", "parameters", "certified", "units"),
)
"""Columns of the table of a grid: accuracies in percent, the claim of a suite, and what is left of the network."""
