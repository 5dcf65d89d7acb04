"""Choose the size of a network with scikit-learn's cross-validation."""

import numpy as np
from sklearn.model_selection import GridSearchCV

import gatewise

random = np.random.default_rng(0)
y = np.arange(60) % 2
X = np.sin(np.arange(20) * np.where(y, 0.5, 1.0)[:, None]) + random.normal(0, 0.3, (60, 20))

classifier = gatewise.Classifier(epochs=4, batch_size=8, learning_rate=0.01)
search = GridSearchCV(classifier, {"units": [(4,), (16,)]}, cv=2)
search.fit(X, y)
print("best:", search.best_params_, f"accuracy {search.best_score_:.3f}")
