"""Classify short messages as spam or not, on shipped data, and predict for new messages."""

import gatewise

settings = {"training": {"epochs": 1}, "network": {"units": [16], "embedding_dim": 16}}
run = gatewise.train("sms-spam", settings=settings)
print(run.metrics["verdict"]["sentence"])
print(gatewise.predict(run, ["Win a free prize, call now!", "See you at home tonight"]))
