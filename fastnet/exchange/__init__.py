"""A network in other forms: as an ONNX or a C file, or of PyTorch; and the parameters that PyTorch and Keras have.

`layers.py`: what a model is made of, which all of them begin with. `onnx_graph.py`: its nodes in ONNX; `onnx_file.py`:
the file. `c_source.py`: the C file, from the templates in `c/`. `torch_network.py`: to PyTorch and from it.
`weights.py`: parameters that come as arrays. What a model was trained with stays behind: loss, optimizer, history.

Nothing here knows `Model`; its methods of these names import what they need when they are called.
"""
