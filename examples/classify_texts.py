"""Tell spam from other short messages, on the data that ships, and ask about new ones."""

import gatewise

settings = {"training": {"epochs": 1}, "network": {"units": [16], "embedding_dim": 16}}
run = gatewise.train("sms-spam", settings=settings)
print(run.metrics["verdict"]["sentence"])
print(gatewise.predict(run.artefact, ["Win a free prize, call now!", "See you at home tonight"]))
