/* Outlines of the eight figures, their areas and boxes, and how much of each pixel they cover. */
#include "data/scenes/scene_parts.h"

#include <math.h>

static const double pi = 3.14159265358979323846;

static void add(fci_outline *o, double x, double y)
{
    FC_ASSERT(o->end[o->loops] < FCI_OUTLINE_POINTS);
    o->point[o->end[o->loops]++] = (fci_point){x, y};
}

static void close_loop(fci_outline *o)
{
    int end = o->end[o->loops];
    if (++o->loops < 2) {
        o->end[o->loops] = end;
    }
}

static void arc(fci_outline *o, double x, double y, double r, double from, double to, int points)
{
    for (int i = 0; i < points; i++) {
        double a = from + (to - from) * i / points;
        add(o, x + r * cos(a), y + r * sin(a));
    }
}

/* Corners at alternating radii, the first straight up. */
static void spikes(fci_outline *o, int corners, double outer, double inner, double y)
{
    for (int i = 0; i < 2 * corners; i++) {
        double a = -pi / 2 + pi * i / corners;
        double r = i % 2 == 0 ? outer : inner;
        add(o, r * cos(a), y + r * sin(a));
    }
}

static void cross(fci_outline *o)
{
    static const double corner[12][2] = {{-1, -3}, {1, -3}, {1, -1}, {3, -1}, {3, 1},   {1, 1},
                                         {1, 3},   {-1, 3}, {-1, 1}, {-3, 1}, {-3, -1}, {-1, -1}};
    for (int i = 0; i < 12; i++) {
        add(o, corner[i][0] / 6, corner[i][1] / 6);
    }
}

static void heart(fci_outline *o)
{
    for (int i = 0; i < 48; i++) {
        double t = 2 * pi * i / 48;
        double s = sin(t);
        double y = 13 * cos(t) - 5 * cos(2 * t) - 2 * cos(3 * t) - cos(4 * t);
        add(o, s * s * s / 2, -(y + 2.5) / 31);
    }
}

/* A disc of radius r less a disc of radius c about (d, 0): the outer arc, then back along the cut.
 */
static void crescent(fci_outline *o)
{
    const double r = 0.52, c = 0.44, d = 0.27, shift = 0.14;
    double x = (r * r - c * c + d * d) / (2 * d);
    double at_outer = acos(x / r), at_cut = acos((x - d) / c);
    arc(o, shift, 0, r, at_outer, 2 * pi - at_outer, 32);
    arc(o, shift + d, 0, c, 2 * pi - at_cut, at_cut, 28);
}

void fci_outline_make(fci_outline *out, int shape, double x, double y, double extent, double angle)
{
    *out = (fci_outline){.loops = 0};
    switch ((fci_shape)shape) {
    case FCI_CIRCLE:
        arc(out, 0, 0, 0.5, 0, 2 * pi, 48);
        break;
    case FCI_SQUARE:
        for (int i = 0; i < 4; i++) {
            add(out, i == 1 || i == 2 ? 0.45 : -0.45, i >= 2 ? 0.45 : -0.45);
        }
        break;
    case FCI_TRIANGLE:
        spikes(out, 3, 0.6, 0.3, 0.12); /* inner radius half the outer: straight sides */
        break;
    case FCI_STAR:
        spikes(out, 5, 0.57, 0.24, 0.03);
        break;
    case FCI_CROSS:
        cross(out);
        break;
    case FCI_RING:
        arc(out, 0, 0, 0.5, 0, 2 * pi, 44);
        close_loop(out);
        arc(out, 0, 0, 0.25, 0, 2 * pi, 32);
        break;
    case FCI_HEART:
        heart(out);
        break;
    case FCI_CRESCENT:
        crescent(out);
        break;
    }
    close_loop(out);
    double c = extent * cos(angle), s = extent * sin(angle);
    for (int i = 0; i < out->end[out->loops - 1]; i++) {
        fci_point p = out->point[i];
        out->point[i] = (fci_point){x + c * p.x - s * p.y, y + s * p.x + c * p.y};
    }
}

double fci_outline_area(const fci_outline *o)
{
    double area = 0;
    for (int l = 0, begin = 0; l < o->loops; begin = o->end[l++]) {
        double twice = 0;
        for (int i = begin; i < o->end[l]; i++) {
            fci_point a = o->point[i], b = o->point[i + 1 < o->end[l] ? i + 1 : begin];
            twice += a.x * b.y - b.x * a.y;
        }
        area += (l == 0 ? 0.5 : -0.5) * fabs(twice);
    }
    return area;
}

void fci_outline_box(const fci_outline *o, double box[4])
{
    box[0] = box[2] = o->point[0].x;
    box[1] = box[3] = o->point[0].y;
    for (int i = 1; i < o->end[0]; i++) {
        box[0] = fmin(box[0], o->point[i].x);
        box[1] = fmin(box[1], o->point[i].y);
        box[2] = fmax(box[2], o->point[i].x);
        box[3] = fmax(box[3], o->point[i].y);
    }
}

static double clip(double x, double lo, double hi)
{
    return fmin(fmax(x, lo), hi);
}

/* Add `weight` times the overlap of [x0, x1] with each pixel lo..hi-1 of a row. */
static void add_span(float *row, double x0, double x1, int lo, int hi, double weight)
{
    x0 = clip(x0, lo, hi);
    x1 = clip(x1, lo, hi);
    int first = (int)x0, last = (int)x1;
    if (first == last) {
        if (x1 > x0) {
            row[first] += (float)(weight * (x1 - x0));
        }
        return;
    }
    row[first] += (float)(weight * (first + 1 - x0));
    for (int x = first + 1; x < last; x++) {
        row[x] += (float)weight;
    }
    if (x1 > last) {
        row[last] += (float)(weight * (x1 - last));
    }
}

/* Where the outline crosses the line y, ascending. */
static int crossings(const fci_outline *o, double y, double *x)
{
    int n = 0;
    for (int l = 0, begin = 0; l < o->loops; begin = o->end[l++]) {
        for (int i = begin; i < o->end[l]; i++) {
            fci_point a = o->point[i], b = o->point[i + 1 < o->end[l] ? i + 1 : begin];
            if ((a.y <= y) == (b.y <= y)) {
                continue;
            }
            double at = a.x + (y - a.y) / (b.y - a.y) * (b.x - a.x);
            int k = n++;
            for (; k > 0 && x[k - 1] > at; k--) {
                x[k] = x[k - 1];
            }
            x[k] = at;
        }
    }
    return n;
}

fc_rect fci_outline_cover(const fci_outline *o, double dx, double dy, int size, float *cover)
{
    enum { LINES = 4 };
    double box[4];
    fci_outline_box(o, box);
    fc_rect r = {(int)clip(floor((box[0] + dx) * size), 0, size),
                 (int)clip(floor((box[1] + dy) * size), 0, size),
                 (int)clip(ceil((box[2] + dx) * size), 0, size),
                 (int)clip(ceil((box[3] + dy) * size), 0, size)};
    for (int y = r.y0; y < r.y1; y++) {
        float *row = cover + (ptrdiff_t)y * size;
        for (int x = r.x0; x < r.x1; x++) {
            row[x] = 0;
        }
        for (int line = 0; line < LINES; line++) {
            double x[FCI_OUTLINE_POINTS];
            int n = crossings(o, (y + (line + 0.5) / LINES) / size - dy, x);
            for (int k = 0; k + 1 < n; k += 2) {
                add_span(row, (x[k] + dx) * size, (x[k + 1] + dx) * size, r.x0, r.x1, 1.0 / LINES);
            }
        }
    }
    return r;
}
