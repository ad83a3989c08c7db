"""scikit-learn's MLPClassifier and MLPRegressor, on fastnet's engine; needs the extra fastnet[sklearn]."""

from fastnet.sklearn.estimators import MLPClassifier, MLPRegressor, from_sklearn

__all__ = ["MLPClassifier", "MLPRegressor", "from_sklearn"]
