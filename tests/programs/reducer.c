/* The two halves of map and reduce: reducer PORT PREFIX
 * PREFIX_split cuts its workload at the spaces and has PREFIX_count count the letters of each word;
 * the aggregator adds up what comes back. A word "bad" makes PREFIX_count fail.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>
#include <unistd.h>

#include <libgearman/gearman.h>

static gearman_return_t split(gearman_job_st *job, void *context)
{
  (void)context;
  const char *at = gearman_job_workload(job);
  const char *end = at + gearman_job_workload_size(job);
  while (at < end) {
    const char *space = memchr(at, ' ', (size_t)(end - at));
    const char *stop = space == NULL ? end : space;
    if (stop > at && gearman_failed(gearman_job_send_data(job, at, (size_t)(stop - at)))) {
      return GEARMAN_ERROR;
    }
    at = stop + 1;
  }
  return GEARMAN_SUCCESS;
}

static gearman_return_t add_up(gearman_aggregator_st *aggregator, gearman_task_st *task, gearman_result_st *result)
{
  (void)aggregator;
  long sum = 0;
  char text[32];
  for (; task != NULL; task = gearman_next(task)) {
    gearman_result_st *part = gearman_task_result(task);
    if (part != NULL) {
      snprintf(text, sizeof(text), "%.*s", (int)gearman_result_size(part), gearman_result_value(part));
      sum += atol(text);
    }
  }
  int size = snprintf(text, sizeof(text), "%ld letters", sum);
  return gearman_result_store_value(result, text, (size_t)size);
}

static gearman_return_t count(gearman_job_st *job, void *context)
{
  (void)context;
  char text[32];
  size_t letters = gearman_job_workload_size(job);
  if (letters == 3 && memcmp(gearman_job_workload(job), "bad", 3) == 0) {
    return GEARMAN_FAIL;
  }
  int size = snprintf(text, sizeof(text), "%zu", letters);
  return gearman_job_send_data(job, text, (size_t)size);
}

static void serve(const char *port, const char *prefix, const char *name, gearman_function_t function)
{
  char full[256];
  int size = snprintf(full, sizeof(full), "%s_%s", prefix, name);
  gearman_worker_st *worker = gearman_worker_create(NULL);
  gearman_worker_add_server(worker, "127.0.0.1", (in_port_t)atoi(port));
  if (gearman_failed(gearman_worker_define_function(worker, full, (size_t)size, function, 0, NULL))) {
    fprintf(stderr, "%s\n", gearman_worker_error(worker));
    exit(1);
  }
  for (;;) {
    gearman_worker_work(worker);
  }
}

int main(int argc, char *argv[])
{
  if (argc != 3) {
    return 2;
  }
  if (fork() == 0) {
    serve(argv[1], argv[2], "count", gearman_function_create(count));
  }
  serve(argv[1], argv[2], "split", gearman_function_create_partition(split, add_up));
}
