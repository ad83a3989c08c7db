/* $summary

   Written by fastnet's Model.to_c: the layers, without dropout, and not what they were trained with (loss, optimizer
   and its state, history). The numbers are the model's own, exactly: they are written in hexadecimal.

   Compile, and link with -lm for fma alone:

       cc -std=c99 -O3 -march=native -c $file

   Declare and call, with $n_features features and $n_outputs outputs an example:

       void ${prefix}predict(const $real *X, $real *out, size_t m);

   For m examples, X (m, $n_features) and out (m, $n_outputs), both row by row and not overlapping, it writes A_L to out:
   $meaning.

   That is what model.forward(X) returns, to the bit, with whatever -O and -march, if the compiler makes an fma of no
   other product and sum (as GCC and Clang do here; elsewhere, see to it) and rounds as the types say (on 32-bit x86:
   -msse2 -mfpmath=sse); but for subnormal numbers, of which nothing is said. Without an fma of the CPU, for which -march
   is, the bits are the same, and it is slow.

   Several threads may call it at once. It allocates nothing and takes about $stack bytes of the stack. X is not checked:
   what is infinite or NaN gives numbers without meaning. */

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#ifdef __FAST_MATH__
#error "-ffast-math changes the order of sums: compile without it."
#endif
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__) && !defined(__STRICT_ANSI__)
#pragma GCC optimize("fp-contract=off")
#endif

#define ${PREFIX}N_FEATURES $n_features
#define ${PREFIX}N_OUTPUTS $n_outputs

$type

$functions

$parameters

void ${prefix}predict(const $real *X, $real *out, size_t m);

void ${prefix}predict(const $real *X, $real *out, size_t m)
{$buffers
    for (size_t e = 0; e < m; e++, X += $n_features, out += $n_outputs) {
$layers
    }
}
