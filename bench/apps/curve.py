"""The figure that both apps draw: a curve of 400 points that says in its title what it shows."""

import numpy as np
import plotly.graph_objects as go

FREQUENCIES = range(101)
START = 50


def curve(frequency: int) -> go.Figure:
    x = np.linspace(0, 1, 400)
    figure = go.Figure(go.Scatter(x=x, y=np.sin(x * frequency), mode="lines"))
    return figure.update_layout(title={"text": f"Frequency {frequency}"}, height=360)
