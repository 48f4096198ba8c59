/* A worker: worker PORT PREFIX JOBS
 * It serves PREFIX_reverse and so on, and ends after JOBS calls of the library that did work (0: never).
 * What the library returns for each of them is printed as a line.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <libgearman/gearman.h>

static gearman_return_t reverse(gearman_job_st *job, void *context)
{
  (void)context;
  const char *workload = gearman_job_workload(job);
  size_t size = gearman_job_workload_size(job);
  char *result = malloc(size + 1);
  for (size_t at = 0; at < size; at++) {
    result[at] = workload[size - 1 - at];
  }
  gearman_return_t rc = gearman_job_send_data(job, result, size);
  free(result);
  return rc;
}

static gearman_return_t status(gearman_job_st *job, void *context)
{
  (void)context;
  for (uint32_t step = 1; step <= 3; step++) {
    if (gearman_failed(gearman_job_send_status(job, step, 3))) {
      return GEARMAN_ERROR;
    }
  }
  return gearman_job_send_data(job, "status done", 11);
}

static gearman_return_t exception(gearman_job_st *job, void *context)
{
  (void)context;
  gearman_job_send_exception(job, "from C", 6);
  return GEARMAN_WORK_EXCEPTION;
}

static gearman_return_t fail(gearman_job_st *job, void *context)
{
  (void)job;
  (void)context;
  return GEARMAN_FAIL;
}

/* Loses its connection the first two times, so that the server gives the job out again. */
static gearman_return_t stumble(gearman_job_st *job, void *context)
{
  static int attempts;
  (void)context;
  attempts++;
  if (attempts < 3) {
    return GEARMAN_ERROR;
  }
  return gearman_job_send_data(job, "at the third attempt", 20);
}

/* Ends the worker, after this job. */
static gearman_return_t shut_down(gearman_job_st *job, void *context)
{
  (void)job;
  (void)context;
  return GEARMAN_SHUTDOWN;
}

/* Waits for a byte from the pipe that the workload names. */
static gearman_return_t hold(gearman_job_st *job, void *context)
{
  (void)context;
  char path[512] = "";
  char byte;
  size_t size = gearman_job_workload_size(job);
  memcpy(path, gearman_job_workload(job), size < sizeof(path) ? size : sizeof(path) - 1);
  gearman_job_send_status(job, 3, 7);
  FILE *gate = fopen(path, "r");
  if (gate == NULL || fread(&byte, 1, 1, gate) != 1) {
    return GEARMAN_FAIL;
  }
  fclose(gate);
  return gearman_job_send_data(job, "held", 4);
}

static const struct {
  const char *name;
  gearman_function_fn *function;
} functions[] = {
  {"reverse", reverse}, {"status", status}, {"exception", exception}, {"fail", fail},
  {"stumble", stumble}, {"shutdown", shut_down}, {"hold", hold},
};

int main(int argc, char *argv[])
{
  if (argc != 4) {
    return 2;
  }
  int jobs = atoi(argv[3]);
  gearman_worker_st *worker = gearman_worker_create(NULL);
  gearman_worker_add_server(worker, "127.0.0.1", (in_port_t)atoi(argv[1]));
  for (size_t at = 0; at < sizeof(functions) / sizeof(functions[0]); at++) {
    char name[256];
    int size = snprintf(name, sizeof(name), "%s_%s", argv[2], functions[at].name);
    gearman_function_t function = gearman_function_create(functions[at].function);
    if (gearman_failed(gearman_worker_define_function(worker, name, (size_t)size, function, 0, NULL))) {
      fprintf(stderr, "%s\n", gearman_worker_error(worker));
      return 1;
    }
  }
  setbuf(stdout, NULL);
  for (int done = 0; jobs == 0 || done < jobs; done++) {
    gearman_return_t rc = gearman_worker_work(worker);
    printf("%s\n", gearman_strerror(rc));
    if (rc == GEARMAN_SHUTDOWN) {
      break;
    }
  }
  gearman_worker_free(worker);
  return 0;
}
