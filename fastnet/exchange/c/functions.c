//// dense:
/* Z = W A_prev + b: the sum of each unit begins with its bias, or zero, and runs over the inputs in order, by fmas.
   WT (n_prev, n) is W transposed, so that the inner loop goes along a row of it; A_prev (n_prev,), Z (n,). */
static void dense(size_t n_prev, size_t n, const real *WT, const real *b, const real *restrict A_prev, real *restrict Z)
{
    for (size_t i = 0; i < n; i++)
        Z[i] = b ? b[i] : 0;
    for (size_t k = 0; k < n_prev; k++, WT += n)
        for (size_t i = 0; i < n; i++)
            Z[i] = FMA(WT[i], A_prev[k], Z[i]);
}
//// wide:
/* Z = W A_prev + b of very many inputs: partial sum p, of 16, takes the inputs p, p + 16, p + 32, ... in order, by fmas;
   then the two halves of the partial sums are added until one is left. W (n, n_prev), A_prev (n_prev,), Z (n,). */
static void wide(size_t n_prev, size_t n, const real *W, const real *b, const real *restrict A_prev, real *restrict Z)
{
    for (size_t i = 0; i < n; i++, W += n_prev) {
        real sums[16] = {0};
        for (size_t k = 0; k < n_prev; k += 16)
            for (size_t p = 0; p < 16 && k + p < n_prev; p++)
                sums[p] = FMA(W[k + p], A_prev[k + p], sums[p]);
        for (size_t half = 8; half > 0; half /= 2)
            for (size_t p = 0; p < half; p++)
                sums[p] = sums[p] + sums[p + half];
        Z[i] = sums[0] + (b ? b[i] : 0);
    }
}
//// power_of_two:
/* 2^n, given n + MAGIC. */
static real power_of_two(real shifted)
{
    bits n_and_more;
    memcpy(&n_and_more, &shifted, sizeof shifted);
    n_and_more = (n_and_more + EXPONENT_BIAS) << FRACTION_BITS;
    memcpy(&shifted, &n_and_more, sizeof shifted);
    return shifted;
}
//// expm1_reduced: expm1_remainder
/* e^r - 1, and n + MAGIC in *shifted, where x = n ln 2 + r, n is an integer and |r| <= ln(2) / 2. */
static real expm1_reduced(real x, real *shifted)
{
    *shifted = FMA(x, LOG2_E, MAGIC);
    const real n = *shifted - MAGIC;
    real r = FMA(n, MINUS_LN2_HIGH, x);
    r = FMA(n, MINUS_LN2_LOW, r);
    return FMA(r * r, expm1_remainder(r), r);
}
//// exp_of: expm1_reduced power_of_two
/* e^x. */
static real exp_of(real x)
{
    x = x < EXP_LOW ? EXP_LOW : x;
    x = x > EXP_HIGH ? EXP_HIGH : x;
    real shifted;
    const real expm1_r = expm1_reduced(x, &shifted);
    return (expm1_r + 1) * 2 * power_of_two(shifted - 1);
}
//// expm1_of: expm1_reduced power_of_two
/* e^x - 1 for x <= 0. */
static real expm1_of(real x)
{
    x = x < EXPM1_LOW ? EXPM1_LOW : x;
    real shifted;
    const real expm1_r = expm1_reduced(x, &shifted);
    const real scale = power_of_two(shifted);
    return FMA(scale, expm1_r, scale - 1);
}
//// log1p_of: log1p_remainder
/* log(1 + e) for 0 <= e <= 1. */
static real log1p_of(real e)
{
    const real s = e / (2 + e), t = s * s;
    return FMA(s * t, log1p_remainder(t), s + s);
}
//// normal: exp_of normal_tail
/* Phi(x), the normal distribution. */
static real normal(real x)
{
    real magnitude = FABS(x);
    magnitude = magnitude > NORMAL_HIGH ? NORMAL_HIGH : magnitude;
    const real square = magnitude * magnitude;
    const real lost = FMA(magnitude, magnitude, -square);
    real e = exp_of((real)-0.5 * square);
    e = FMA(e, (real)-0.5 * lost, e);
    e = FABS(x) > NORMAL_HIGH ? 0 : e;
    const real total = magnitude + 4, share = 1 / total;
    const real rest = FMA(-share, magnitude - (total - 4), FMA(-share, total, 1));
    const real t = FMA(-8 * share, rest, FMA(-8, share, 1));
    const real mills = normal_tail(t) * share;
    const real tail = e * FMA(mills, rest, mills);
    return x < 0 ? tail : 1 - tail;
}
//// sigmoid: exp_of
static real sigmoid(real z)
{
    const real e = exp_of(-FABS(z));
    return (z < 0 ? e : 1) / (1 + e);
}
//// tanh_of: expm1_of
static real tanh_of(real z)
{
    const real minus_z = -FABS(z), m = expm1_of(minus_z + minus_z);
    return COPYSIGN(m / (2 + m), z);
}
//// relu:
static real relu(real z)
{
    return z < 0 ? 0 : z;
}
//// leaky_relu:
static real leaky_relu(real z, real slope)
{
    return z < 0 ? slope * z : z;
}
//// elu: expm1_of
static real elu(real z)
{
    const real m = expm1_of(z);
    return z < 0 ? m : z;
}
//// selu: expm1_of
/* 1.0507 z where z > 0, and 1.7581 (e^z - 1) elsewhere. */
static real selu(real z)
{
    const real m = (real)1.7580993408473766 * expm1_of(z);
    return z < 0 ? m : (real)1.0507009873554805 * z;
}
//// softplus: exp_of log1p_of
/* log(1 + e^z). */
static real softplus(real z)
{
    return (z < 0 ? 0 : z) + log1p_of(exp_of(-FABS(z)));
}
//// gelu: normal
/* z Phi(z). */
static real gelu(real z)
{
    return (z < -NORMAL_HIGH ? -NORMAL_HIGH : z) * normal(z);
}
//// silu: sigmoid
/* z sigmoid(z). */
static real silu(real z)
{
    return (z < EXP_LOW ? EXP_LOW : z) * sigmoid(z);
}
//// mish: exp_of
/* z tanh(log(1 + e^z)) = z n / d, n = e^z (e^z + 2), d = n + 2; for z > 0 both times e^-2z. */
static real mish(real z)
{
    const real low = z < EXP_LOW ? EXP_LOW : z, z_within = low > 40 ? 40 : low;
    const real e = exp_of(-FABS(z_within));
    const real n = z < 0 ? e * (e + 2) : FMA(2, e, 1);
    const real p = e * (z < 0 ? 1 : e);
    const real d = n + (z < 0 ? 2 : p + p);
    return low * (n / d);
}
//// softmax: exp_of
/* Z <- e^Z / sum of e^Z over the n units; the largest is taken out, and its own share is exactly 1. */
static void softmax(size_t n, real *Z)
{
    size_t first = 0;
    for (size_t i = 1; i < n; i++)
        if (Z[i] > Z[first])
            first = i;
    const real largest = Z[first];
    real rest = 0;
    for (size_t i = 0; i < n; i++) {
        Z[i] = exp_of(Z[i] - largest);
        if (i != first)
            rest += Z[i];
    }
    for (size_t i = 0; i < n; i++)
        Z[i] = Z[i] / (1 + rest);
}
