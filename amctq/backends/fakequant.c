/* ULQ and ARQ in one pass over memory each: what retraining_cells.py computes with MindSpore's operators, bit for bit.
 *
 * The functions have the signature that MindSpore's ops.Custom calls on a CPU ("aot"): pointers to inputs and outputs,
 * their ranks and shapes. All tensors are float32. Compile without contraction of products and sums (fused
 * multiply-add rounds once where MindSpore rounds twice).
 *
 * Sums run along the batch, one for each of the other positions, in the order of the images: as MindSpore's ReduceSum
 * does it. So threads share out positions, and their number changes no result.
 */

#define _GNU_SOURCE
#include <pthread.h>
#include <sched.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#define LEVELS 255.0f
#define EPSILON 1.1920928955078125e-07f
#define NARROWEST (LEVELS * EPSILON)
#define MOST_THREADS 64
#define WORTH_A_THREAD 32768 /* elements; starting one takes as long as some ten thousand of them */
#define LANES 64
#define COLUMNS 2048         /* positions summed at a time: their sums stay in the first cache */

/* Half to even, for |x| < 2^22. */
static inline float nearest(float x) { return (x + 12582912.0f) - 12582912.0f; }

static int cores(void) {
  cpu_set_t set;
  int count = sched_getaffinity(getpid(), sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
  return count < MOST_THREADS ? count : MOST_THREADS;
}

typedef void (*work_fn)(const void *job, int64_t begin, int64_t end);

typedef struct {
  work_fn work;
  const void *job;
  int64_t begin, end;
} share;

static void *run_share(void *argument) {
  share *own = argument;
  own->work(own->job, own->begin, own->end);
  return NULL;
}

/* Do `items`, of `elements` each, on as many cores as they are worth. */
static void parallel(work_fn work, const void *job, int64_t items, int64_t elements) {
  int64_t worth = items * elements / WORTH_A_THREAD, threads = cores();
  if (threads > worth) threads = worth;
  if (threads > items) threads = items;
  if (threads < 2) {
    work(job, 0, items);
    return;
  }
  pthread_t started[MOST_THREADS];
  share shares[MOST_THREADS];
  int running[MOST_THREADS];
  for (int64_t i = 0; i < threads; i++) {
    shares[i] = (share){work, job, items * i / threads, items * (i + 1) / threads};
    running[i] = i > 0 && pthread_create(&started[i], NULL, run_share, &shares[i]) == 0;
  }
  for (int64_t i = 0; i < threads; i++)
    if (!running[i]) run_share(&shares[i]);
  for (int64_t i = 0; i < threads; i++)
    if (running[i]) pthread_join(started[i], NULL);
}

/* Nothing but float32 comes here, unless somebody changes the cells. */
static int expected(int nparam, int count, const char **dtypes) {
  if (nparam != count) return 0;
  for (int i = 0; i < nparam; i++)
    if (strcmp(dtypes[i], "float32") != 0) return 0;
  return 1;
}

static int64_t product(const int64_t *shape, int from, int to) {
  int64_t result = 1;
  for (int i = from; i < to; i++) result *= shape[i];
  return result;
}

/* quant.ulq.Clips: one step, the ends in steps, the ends themselves. */
typedef struct {
  float scale, first, last, low, high;
} grid;

static grid grid_of(float clip_max, float clip_min) {
  grid g;
  float low = clip_min < 0.0f ? clip_min : 0.0f;
  float high = clip_max > NARROWEST ? clip_max : NARROWEST;
  g.scale = (high - low) / LEVELS;
  g.first = nearest(low / g.scale);
  g.last = g.first + LEVELS;
  g.low = g.scale * g.first;
  g.high = g.scale * g.last;
  return g;
}

/* NaN compares false with everything and stays NaN, for the loss to show it. */
static inline float on_grid(float x, grid g) {
  float steps = x / g.scale;
  steps = steps > g.last ? g.last : steps;
  steps = steps < g.first ? g.first : steps;
  return nearest(steps) * g.scale;
}

typedef struct {
  const float *x;
  float *y;
  grid grid;
} forward_job;

static void forward(const void *argument, int64_t begin, int64_t end) {
  forward_job job = *(const forward_job *)argument;
  for (int64_t i = begin; i < end; i++) job.y[i] = on_grid(job.x[i], job.grid);
}

/* x, clip_max, clip_min -> y */
int ulq(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *stream, void *extra) {
  (void)stream, (void)extra;
  if (!expected(nparam, 4, dtypes)) return 1;
  forward_job job = {params[0], params[3], grid_of(*(float *)params[1], *(float *)params[2])};
  parallel(forward, &job, product(shapes[0], 0, ndims[0]), 1);
  return 0;
}

typedef struct {
  const float *x, *dout;
  float *dx, *error, *above, *below;
  int64_t images, positions;
  grid grid;
} backward_job;

/* One image: its part of dx, and what it adds to the sums. */
static void backward_image(int64_t count, grid g, const float *restrict x, const float *restrict dout,
                           float *restrict dx, float *restrict error, float *restrict above, float *restrict below) {
  for (int64_t i = 0; i < count; i++) {
    float too_high = x[i] > g.high ? dout[i] : 0.0f, too_low = x[i] < g.low ? dout[i] : 0.0f;
    float inside = dout[i] - too_high - too_low;
    dx[i] = inside;
    error[i] += (on_grid(x[i], g) - x[i]) * inside;
    above[i] += too_high;
    below[i] += too_low;
  }
}

static void backward(const void *argument, int64_t begin, int64_t end) {
  const backward_job *job = argument;
  for (int64_t block = begin; block < end; block++) {
    int64_t first = block * COLUMNS, left = job->positions - first, count = left < COLUMNS ? left : COLUMNS;
    float *sums[] = {job->error + first, job->above + first, job->below + first};
    for (int k = 0; k < 3; k++) memset(sums[k], 0, count * sizeof(float));
    for (int64_t n = 0; n < job->images; n++) {
      int64_t at = n * job->positions + first;
      backward_image(count, job->grid, job->x + at, job->dout + at, job->dx + at, sums[0], sums[1], sums[2]);
    }
  }
}

/* x, clip_max, clip_min, dout -> dx, and for each position the sums over the batch of error, above, below */
int ulq_grad(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *stream, void *extra) {
  (void)stream, (void)extra;
  if (!expected(nparam, 8, dtypes)) return 1;
  backward_job job = {
      .x = params[0], .dout = params[3], .dx = params[4], .error = params[5], .above = params[6], .below = params[7],
      .images = shapes[0][0], .positions = product(shapes[0], 1, ndims[0]),
      .grid = grid_of(*(float *)params[1], *(float *)params[2]),
  };
  parallel(backward, &job, (job.positions + COLUMNS - 1) / COLUMNS, COLUMNS * job.images);
  return 0;
}

typedef struct {
  const float *weight;
  float *out;
  int64_t columns;
  float lowest, highest;
} weight_job;

/* In lanes, because a compiler may not reorder the comparisons of one running maximum. */
static float scale_of(const float *weight, int64_t count, float lowest, float highest) {
  float high[LANES] = {0}, low[LANES] = {0};
  for (int64_t first = 0; first < count; first += LANES) {
    int64_t lanes = count - first < LANES ? count - first : LANES;
    for (int64_t k = 0; k < lanes; k++) {
      float w = weight[first + k];
      high[k] = w > high[k] ? w : high[k];
      low[k] = w < low[k] ? w : low[k];
    }
  }
  for (int k = 1; k < LANES; k++) {
    high[0] = high[k] > high[0] ? high[k] : high[0];
    low[0] = low[k] < low[0] ? low[k] : low[0];
  }
  float up = high[0] / highest, down = low[0] / lowest, scale = up > down ? up : down;
  return scale < EPSILON ? 1.0f : scale;
}

static void quantize_rows(const void *argument, int64_t begin, int64_t end) {
  weight_job job = *(const weight_job *)argument;
  for (int64_t row = begin; row < end; row++) {
    const float *restrict weight = job.weight + row * job.columns;
    float *restrict out = job.out + row * job.columns;
    float scale = scale_of(weight, job.columns, job.lowest, job.highest);
    for (int64_t i = 0; i < job.columns; i++) out[i] = nearest(weight[i] / scale) * scale;
  }
}

/* weight (C_out, ...), range (3): lowest and highest integer, and whether each channel has a scale -> fake-quantized */
int arq(int nparam, void **params, int *ndims, int64_t **shapes, const char **dtypes, void *stream, void *extra) {
  (void)stream, (void)extra;
  if (!expected(nparam, 3, dtypes)) return 1;
  const float *range = params[1];
  int64_t rows = range[2] != 0.0f ? shapes[0][0] : 1;
  weight_job job = {params[0], params[2], product(shapes[0], 0, ndims[0]) / rows, range[0], range[1]};
  parallel(quantize_rows, &job, rows, job.columns);
  return 0;
}
