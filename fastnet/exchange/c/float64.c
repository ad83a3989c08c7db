typedef double real;
typedef uint64_t bits;
#define FMA fma
#define FABS fabs
#define COPYSIGN copysign
#define MAGIC 0x1.8p+52 /* Added to a small number, it rounds that to an integer, in the lowest bits of the sum. */
#define FRACTION_BITS 52
#define EXPONENT_BIAS 1023
