"""The compiled engine. Nothing outside this folder imports numba; nothing in it imports the rest of fastnet.

The reading path, for who knows NumPy and the course notes; each file says at its head what is in it:

0. `engine/run.py`, outside this folder: `Run._call` calls the entry point `train`, after `engine/recipe.py` has
   loaded the parts, or compiled them, and written their addresses to the records.
1. `plan.py`: where everything lies. Records NETWORK, LAYER, JOB, PROGRESS; blocks, panels, strategies.
2. `train.py`: begin, go through, cost, update, end: what happens with a batch, by one thread or a team.
3. `passes.py`: forward, backward, gradients and steps: loops over the layers, which call parts by address.
4. `build/parts.py`: the table of parts. `link.py`: which network wants which part. `build/callers.py`: what calls one
   from another.
5. `gather.py`: from the user's rows to blocks. `blocks.py`: where an example lies in them, how threads divide.
6. `products.py`: W A_prev + b, W^T dZ, dZ A_prev^T by `multiply`, down to the tile (`ir/tiles.py`:
   read its `fallback`, the plain Python). `wide_input.py`: the same three
   for thousands of inputs before few units.
7. `elementary.py`, `activations.py`, `losses.py`, `dropout.py`, `updates.py`: the mathematics, element by element.
   `constants.py`: the numbers in it.
8. `predict.py`: the other entry points. `codes.py`: the names of activations, losses and updates as integers.
9. `build/load.py`: where the machine code of a part comes from. `build/target.py`: what it is made for;
   `build/store.py`: its files; `build/machine.py`: from object code to functions that Python calls, by LLVM alone, and
   what becomes of subnormal numbers in them;
   `build/jit.py`: how it is compiled, the only step that needs numba; `ahead.py`: all of it, for a wheel.
10. `ir/vectors.py`, `ir/tiles.py`, `ir/copies.py`, `ir/sums.py`, `ir/scalars.py`, `ir/barrier.py`, `ir/random.py`: what
    NumPy has no name for, as LLVM IR, each with a Python fallback that says what it does. `ir/tiles.py` holds the
    multiply-add, `ir/fused.py` what it is on CPUs without one.
"""
