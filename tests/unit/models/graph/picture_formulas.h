/* picture_formulas.h: operations on pictures as loops over every index, for op_cases.h alone. */
#ifndef DR_TEST_PICTURE_FORMULAS_H
#define DR_TEST_PICTURE_FORMULAS_H

/* x and y as [rows, height, width, channels], the weight as [out, kernel, kernel, in]. */
typedef struct {
    int height, width, in, out, kernel_height, kernel_width, stride, top, left, y_height, y_width;
} picture_case;

static double weight_at(const picture_case *c, table *in, int o, int u, int v, int i)
{
    return in[1][((o * c->kernel_height + u) * c->kernel_width + v) * c->in + i];
}

static double pixel_at(const picture_case *c, table *in, int r, int a, int b, int i)
{
    bool inside = a >= 0 && a < c->height && b >= 0 && b < c->width;
    return inside ? in[0][((r * c->height + a) * c->width + b) * c->in + i] : 0;
}

/* What pixel (a, b) of the result sees through tap (u, v) of the kernel. */
static double tap_of(const picture_case *c, table *in, const int at[4], int u, int v,
                     bool transposed)
{
    double sum = 0;
    for (int i = 0; i < c->in; i++) {
        int a = at[1] * c->stride + u - c->top, b = at[2] * c->stride + v - c->left;
        double x;
        if (transposed) {
            a = at[1] + c->top - u, b = at[2] + c->left - v;
            bool meets = a % c->stride == 0 && b % c->stride == 0;
            x = meets ? pixel_at(c, in, at[0], a / c->stride, b / c->stride, i) : 0;
        } else {
            x = pixel_at(c, in, at[0], a, b, i);
        }
        sum += x * weight_at(c, in, at[3], u, v, i);
    }
    return sum;
}

static void convolve(double *y, table *in, const picture_case *c, bool transposed, bool bias)
{
    for (int n = 0; n < ROWS * c->y_height * c->y_width * c->out; n++) {
        int pixel = n / c->out;
        int at[4] = {pixel / c->y_width / c->y_height, pixel / c->y_width % c->y_height,
                     pixel % c->y_width, n % c->out};
        y[n] = bias ? in[2][at[3]] : 0;
        for (int u = 0; u < c->kernel_height; u++) {
            for (int v = 0; v < c->kernel_width; v++) {
                y[n] += tap_of(c, in, at, u, v, transposed);
            }
        }
    }
}

static dr_node build_conv_padded(dr_graph *g, const dr_node *in)
{
    return dr_conv2d(g, in[0], in[1], in[2], 2, (dr_padding){1, 0, 2, 1});
}
static void eval_conv_padded(double *y, table *in)
{
    convolve(y, in, &(picture_case){5, 4, 2, 3, 3, 2, 2, 1, 0, 3, 2}, false, true);
}
static dr_node build_conv_plain(dr_graph *g, const dr_node *in)
{
    return dr_conv2d(g, in[0], in[1], DR_NODE_NONE, 1, dr_padding_all(0));
}
static void eval_conv_plain(double *y, table *in)
{
    convolve(y, in, &(picture_case){5, 4, 2, 3, 3, 2, 1, 0, 0, 3, 3}, false, false);
}
static dr_node build_transpose_cropped(dr_graph *g, const dr_node *in)
{
    return dr_conv_transpose2d(g, in[0], in[1], in[2], 2, (dr_padding){1, 0, 2, 1});
}
static void eval_transpose_cropped(double *y, table *in)
{
    convolve(y, in, &(picture_case){3, 2, 2, 3, 4, 3, 2, 1, 0, 5, 4}, true, true);
}
static dr_node build_transpose_plain(dr_graph *g, const dr_node *in)
{
    return dr_conv_transpose2d(g, in[0], in[1], DR_NODE_NONE, 3, dr_padding_all(0));
}
static void eval_transpose_plain(double *y, table *in)
{
    convolve(y, in, &(picture_case){3, 2, 2, 3, 2, 3, 3, 0, 0, 8, 6}, true, false);
}

static dr_node build_max_pool2d(dr_graph *g, const dr_node *in)
{
    return dr_max_pool2d(g, in[0]);
}
static void eval_max_pool2d(double *y, table *in)
{
    for (int n = 0; n < ROWS * 18; n++) {
        int r = n / 18, a = n / 9 % 2, b = n / 3 % 3, c = n % 3;
        y[n] = -INFINITY;
        for (int i = 0; i < 4; i++) {
            int at = ((r * 4 + 2 * a + i / 2) * 6 + 2 * b + i % 2) * 3 + c;
            y[n] = fmax(y[n], in[0][at]);
        }
    }
}

static dr_node build_upsample2d(dr_graph *g, const dr_node *in)
{
    return dr_upsample2d(g, in[0]);
}
static void eval_upsample2d(double *y, table *in)
{
    for (int n = 0; n < ROWS * 48; n++) {
        int r = n / 48, a = n / 12 % 4, b = n / 2 % 6, c = n % 2;
        y[n] = in[0][((r * 2 + a / 2) * 3 + b / 2) * 2 + c];
    }
}

static dr_node build_transpose(dr_graph *g, const dr_node *in)
{
    return dr_transpose(g, in[0], (int[]){2, 0, 1});
}
static void eval_transpose(double *y, table *in)
{
    for (int n = 0; n < ROWS * 24; n++) { /* [2, 3, 4] → [4, 2, 3] */
        int r = n / 24, c = n / 6 % 4, a = n / 3 % 2, b = n % 3;
        y[n] = in[0][((r * 2 + a) * 3 + b) * 4 + c];
    }
}
static dr_node build_transpose_matrix(dr_graph *g, const dr_node *in)
{
    return dr_transpose(g, in[0], (int[]){1, 0});
}
static void eval_transpose_matrix(double *y, table *in)
{
    for (int n = 0; n < ROWS * 12; n++) {
        y[n] = in[0][n / 12 * 12 + n % 3 * 4 + n / 3 % 4];
    }
}

#endif
