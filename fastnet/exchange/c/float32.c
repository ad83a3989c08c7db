typedef float real;
typedef uint32_t bits;
#define FMA fmaf
#define FABS fabsf
#define COPYSIGN copysignf
#define MAGIC 0x1.8p+23f /* Added to a small number, it rounds that to an integer, in the lowest bits of the sum. */
#define FRACTION_BITS 23
#define EXPONENT_BIAS 127
