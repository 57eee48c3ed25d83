"""The perceptron behind Flask: what a data scientist would write, with the same weights in numpy."""

import json
import os

import numpy
from flask import Flask, jsonify, request

with open(os.environ["WEIGHTS"]) as file:
    weights = {
        name: numpy.array(given["values"], dtype=numpy.float32).reshape(given["shape"])
        for name, given in json.load(file).items()
    }
app = Flask(__name__)


@app.get("/ready")
def ready():
    return "ready"


@app.post("/score")
def score():
    pixels = numpy.asarray(request.get_json()["pixels"], dtype=numpy.float32)
    hidden = numpy.maximum(pixels * weights["pixel_scale"] @ weights["W0"] + weights["b0"], 0)
    hidden = numpy.maximum(hidden @ weights["W1"] + weights["b1"], 0)
    logits = hidden @ weights["W2"] + weights["b2"]
    powers = numpy.exp(logits - logits.max(axis=1, keepdims=True))
    probabilities = powers / powers.sum(axis=1, keepdims=True)
    return jsonify(label=probabilities.argmax(axis=1).tolist(), probabilities=probabilities.tolist())
