"""First guesses of who comes from scikit-learn, Keras or PyTorch: each works, or the error says what was meant."""

import copy
import pickle

import numpy as np
import pytest

import fastnet
from fastnet import SGD, Adam, AdamW, Dense, Dropout, EarlyStopping, Model, ReduceOnPlateau, words
from fastnet.sklearn import MLPClassifier, MLPRegressor

X = np.random.default_rng(0).standard_normal((40, 3))
Y = (X[:, 0] > 0).astype(int)


def model(loss=None, optimizer=None, last="sigmoid", **settings):
    return Model([Dense(4, "relu"), Dense(1, last)], loss=loss, optimizer=optimizer, seed=0, **settings)


WORK = {
    "activation": {
        "ReLU": "relu", "Swish": "silu", "SiLU": "silu", "logistic": "sigmoid", "identity": "linear", None: "linear",
        "LeakyReLU": "leaky_relu", "leaky-relu": "leaky_relu", "Tanh": "tanh", "GELU": "gelu", "none": "linear",
    },
    "loss": {
        "mse": "mean_squared_error", "MSELoss": "mean_squared_error", "squared_error": "mean_squared_error",
        "mean squared error": "mean_squared_error", "mae": "mean_absolute_error", "l1": "mean_absolute_error",
        "absolute_error": "mean_absolute_error", "smooth_l1": "huber", "HuberLoss": "huber", "Poisson": "poisson",
    },
    "loss of a sigmoid": {
        "crossentropy": "binary_crossentropy", "cross_entropy": "binary_crossentropy", "bce": "binary_crossentropy",
        "BCEWithLogitsLoss": "binary_crossentropy", "log_loss": "binary_crossentropy",
        "binary_cross_entropy": "binary_crossentropy", "CrossEntropyLoss": "binary_crossentropy",
    },
    "loss of a softmax": {
        "crossentropy": "categorical_crossentropy", "sparse_categorical_crossentropy": "categorical_crossentropy",
        "CrossEntropyLoss": "categorical_crossentropy", "cce": "categorical_crossentropy",
    },
    "optimizer": {"adam": Adam(), "SGD": SGD(), "Adam": Adam(), "adamw": AdamW(), Adam: Adam(), None: SGD()},
    "metric": {
        "acc": "accuracy", "accuracy_score": "accuracy", "roc_auc": "auc", "AUC": "auc", "f1_score": "f1",
        "logloss": "log_loss", "mean_squared_error": "mse", "mean_absolute_error": "mae", "r2_score": "r2",
    },
    "monitor": {"val_loss": "val_cost", "loss": "cost", "val_acc": "val_accuracy", "val_roc_auc": "val_auc"},
}  # fmt: skip

MAKE = {
    "activation": lambda guess: Dense(3, guess).activation,
    "loss": lambda guess: model(guess, last="linear").loss,
    "loss of a sigmoid": lambda guess: model(guess).loss,
    "loss of a softmax": lambda guess: Model([Dense(3, "softmax")], loss=guess).loss,
    "optimizer": lambda guess: model(optimizer=guess).optimizer,
    "metric": lambda guess: next(iter(model().fit(X, Y, epochs=1, metrics=[guess]).metrics)),
    "monitor": lambda guess: EarlyStopping(guess).monitor,
}

SAID = {
    lambda: Dense(3, "reluu"): "Did you mean 'relu'?",
    lambda: Dense(3, "sigmoyd"): "Did you mean 'sigmoid'?",
    lambda: model("mean_squared_eror"): "Did you mean 'mean_squared_error'?",
    lambda: model("binary_crosentropy"): "Did you mean 'binary_crossentropy'?",
    lambda: model(optimizer="adamm"): "Did you mean 'adam'?",
    lambda: model(optimizer="rms_prop"): "Did you mean 'rmsprop'?",
    lambda: model().fit(X, Y, metrics=["acuracy"]): "Did you mean 'accuracy'?",
    lambda: Adam(lr=0.1): "Adam has no argument 'lr'. Use learning_rate.",
    lambda: SGD(eta=0.1): "Use learning_rate.",
    lambda: Adam(beta_1=0.9): "Use beta1.",
    lambda: Adam(betas=(0.9, 0.99)): "Use beta1 and beta2.",
    lambda: Adam(eps=1e-8): "Use epsilon.",
    lambda: Adam(clipnorm=1.0): "Use clip_norm.",
    lambda: SGD(decay=0.1): "Use a schedule as learning_rate",
    lambda: SGD(weight_decay=0.1): "Use AdamW, or l2 of the Model.",
    lambda: SGD(0.1, nesterof=True): "Did you mean 'nesterov'?",
    lambda: Dense(3, input_dim=4): "Use nothing: the first fit sees the width of X.",
    lambda: Dense(3, kernel_regularizer="l2"): "Use l2, or l1.",
    lambda: Dense(3, kernel_initializer="zeros"): "Use initializer.",
    lambda: Dense(3, bias=False): "Use use_bias.",
    lambda: Dense(out_features=3): "Use units.",
    lambda: Dense(3, dropout=0.1): "Use rate, of Dropout(rate) after a layer.",
    lambda: Dropout(p=0.1): "Use rate",
    lambda: Model([Dense(1)], metrics=["acc"]): "Model has no argument 'metrics'. Use fit(metrics=).",
    lambda: Model([Dense(1)], loss_fn="mse"): "Use loss.",
    lambda: Model([Dense(1)], alpha=0.1): "Use l2, or l1.",
    lambda: Model([Dense(1)], epochs=3): "Use fit(epochs=).",
    lambda: Model([Dense(1)], lr=0.1): "Use optimizer=Adam(learning_rate=0.01), of Model.",
    lambda: Model([Dense(1)], learning_rate=0.1): "Use optimizer=Adam(learning_rate=0.01), of Model.",
    lambda: Model([Dense(1)], class_weight={}): "Use fit(class_weight=).",
    lambda: model("pinball", last="linear"): "Pass loss=Quantile(0.9)",
    lambda: fastnet.Quantile(alpha=0.9): "Use q.",
    lambda: model().evaluate(X, Y, metric="acc"): "Use metrics.",
    lambda: model().fit(X, Y, 1).val_loss: "Use history.val_cost.",
    lambda: model().fit(X, Y, 1).loss: "Use history.cost.",
    lambda: model().fit(X, Y, 1).history: "It is the record itself: use history.cost.",
    lambda: MLPClassifier(lr=0.1): "MLPClassifier has no argument 'lr'. Use learning_rate_init.",
    lambda: MLPClassifier(epochs=3): "Use max_iter.",
    lambda: MLPRegressor(seed=0): "Use random_state.",
    lambda: MLPClassifier().fit(X, Y, validation_data=(X, Y)): "fit has no argument 'validation_data'. Use eval_set.",
    lambda: MLPClassifier().fit(X, Y, epochs=3): "Use the constructor's max_iter.",
    lambda: MLPClassifier().fit(X, Y, class_weight={}): "Use the constructor's argument of that name.",
    lambda: MLPClassifier().partial_fit(X, Y, weights=Y): "Use sample_weight.",
    lambda: MLPClassifier(solver="adamw").fit(X, Y): "Pass solver=fastnet.AdamW().",
    lambda: MLPClassifier(solver=Adam).fit(X, Y): "Pass solver=fastnet.Adam().",
    lambda: MLPClassifier(activation="swish").fit(X, Y): "Did you mean 'silu'?",
    lambda: MLPRegressor("mse").fit(X, Y): "Did you mean 'squared_error'?",
    lambda: MLPRegressor("pinball").fit(X, Y): "Pass loss=fastnet.Quantile(0.9)",
    lambda: Model([Dense(1)], hidden_layer_sizes=(3,)): "Use layers=[Dense(64, 'relu'), Dense(1)].",
    lambda: model().fit(X, Y, n_epochs=3): "fit has no argument 'n_epochs'. Use epochs.",
    lambda: model().fit(X, Y, nb_epoch=3): "Use epochs.",
    lambda: model().fit(X, Y, batch=3): "Use batch_size.",
    lambda: model().fit(X, Y, eval_set=(X, Y)): "Use validation_data=(X, y).",
    lambda: model().fit(X, Y, validation_fraction=0.1): "Use validation_split.",
    lambda: model().fit(X, Y, sample_weights=Y): "Use sample_weight.",
    lambda: model().fit(X, Y, class_weights={}): "Use class_weight.",
    lambda: model().fit(X, Y, n_jobs=2): "Use threads.",
    lambda: model().fit(X, Y, callback=print): "Use callbacks.",
    lambda: model().fit(X, Y, early_stopping=True): "Use callbacks=EarlyStopping().",
    lambda: model().fit(X, Y, optimizer="adam"): "Use Model(optimizer=)",
    lambda: model().fit(X, Y, shufle=True): "Did you mean 'shuffle'?",
    lambda: EarlyStopping(restore_best_weights=True): "Use restore_best.",
    lambda: EarlyStopping(mode="max"): "Use nothing: metrics know which way is up.",
    lambda: ReduceOnPlateau(min_lr=1e-5): "Use min_learning_rate.",
    lambda: fastnet.Checkpoint(filepath="x"): "Use path.",
    lambda: fastnet.StepDecay(0.1, step_size=3): "Use step.",
    lambda: model().compile("adam"): "A Model has no attribute 'compile'. Use Model(layers, loss=, optimizer=).",
    lambda: model().add(Dense(1)): "Use Model([Dense(64, 'relu'), Dense(1)]).",
    lambda: model().train(): "Use fit.",
    lambda: model().eval(): "Use predict, in which nothing is dropped out.",
    lambda: model().score(X, Y): "Use evaluate.",
    lambda: model().get_weights(): "Use layers[i].W and .b, or parameters.",
    lambda: model().coefs_: "Use layers[i].W.",
    lambda: model().state_dict(): "Use parameters, or save(path).",
    lambda: model().load_weights("x"): "Use fastnet.load(path).",
    lambda: model().partial_fit(X, Y): "Use step.",
    lambda: model().predict_clases(X): "Did you mean",
    lambda: model().evaluat(X, Y): "Did you mean 'evaluate'?",
    lambda: fastnet.Sequential([]): "fastnet has no 'Sequential'. Use Model([...]).",
    lambda: fastnet.Linear(3): "Use Dense(units).",
    lambda: fastnet.MLPClassifier(): "Use fastnet.sklearn.MLPClassifier.",
    lambda: fastnet.load_model("x"): "Use load.",
    lambda: fastnet.ModelCheckpoint("x"): "Use Checkpoint.",
    lambda: fastnet.CosineAnnealingLR(0.1): "Use CosineDecay.",
    lambda: fastnet.Addam(): "Did you mean 'Adam'?",
}

CELLS = [(kind, guess, meant) for kind, guesses in WORK.items() for guess, meant in guesses.items()]


def test_there_are_a_hundred_guesses():
    assert len(CELLS) + len(SAID) >= 100


@pytest.mark.parametrize(("kind", "guess", "meant"), CELLS, ids=str)
def test_a_name_of_another_library_is_known(kind, guess, meant):
    assert MAKE[kind](guess) == meant


@pytest.mark.parametrize(("guess", "said"), SAID.items(), ids=lambda each: each if isinstance(each, str) else "")
def test_what_is_not_known_says_what_was_meant(guess, said):
    with pytest.raises((TypeError, ValueError, AttributeError)) as caught:
        guess()
    assert said in str(caught.value)


def test_what_a_table_names_is_there():
    """Canonical names, or sentences: no hint at what is not there."""
    assert set(words.ACTIVATIONS.values()) <= set(fastnet.activations.ACTIVATIONS)
    assert set(words.LOSSES.values()) - {words.CROSSENTROPY, "quantile"} <= set(fastnet.losses.LOSSES)
    assert set(words.METRICS.values()) <= set(fastnet.metrics.METRICS)
    attributes, package = (
        {name for meanings in table.values() for name in meanings if name.isidentifier()}
        for table in (words.ATTRIBUTES, words.PACKAGE)
    )
    assert attributes <= set(dir(Model)) | {"parameters"}
    assert package <= set(dir(fastnet))


def test_a_history_has_each_series_by_any_name():
    history = model().fit(X, Y, 2, metrics="acc", validation_data=(X, Y))
    assert history["loss"] is history.cost
    assert history["val_loss"] is history.val_cost
    assert history["val_acc"] is history.val_accuracy
    with pytest.raises(KeyError, match=r"no 'val_auc'. It has 'cost', 'val_cost', 'accuracy', 'val_accuracy'"):
        history["val_auc"]


def test_nothing_is_guessed_where_nothing_is_near():
    with pytest.raises(AttributeError, match=r"^A Model has no attribute 'xyzzy'\.$"):
        model().xyzzy
    with pytest.raises(AttributeError, match=r"^fastnet has no 'xyzzy'\.$"):
        fastnet.xyzzy
    with pytest.raises(TypeError, match=r"^Dense has no argument 'xyzzy'\.$"):
        Dense(3, xyzzy=1)


def test_models_are_copied_and_pickled_as_before():
    made = model().build(3)
    for each in (copy.copy(made), copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        np.testing.assert_array_equal(each.parameters, made.parameters)
    assert not hasattr(made, "_repr_html_")
    assert not hasattr(made, "__array__")


def test_signatures_are_shown():
    import inspect

    for kind in (Model, Dense, fastnet.Adam, fastnet.Checkpoint, fastnet.EarlyStopping, fastnet.Quantile):
        assert "self" not in inspect.signature(kind).parameters
        assert "kwargs" not in inspect.signature(kind).parameters
    assert list(inspect.signature(Model).parameters)[:2] == ["layers", "loss"]


def test_an_optimizer_says_how_its_settings_are_changed():
    optimizer = fastnet.AdamW(0.1)
    with pytest.raises(AttributeError, match=r"model\.optimizer = AdamW\(learning_rate=0\.2\)"):
        optimizer.learning_rate = 0.2


def test_a_model_in_a_search_says_what_to_use():
    for name in ("__sklearn_tags__", "get_params", "set_params"):
        with pytest.raises(AttributeError, match=r"use fastnet\.sklearn\.MLPRegressor"):
            getattr(model(), name)
