/* A worker of libgearman, as its own examples have them: libgearman_worker PORT
 *
 *   cc -O2 -o libgearman_worker libgearman_worker.c -lgearman
 */
#include <libgearman-1.0/gearman.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *echo(gearman_job_st *job, void *context, size_t *size, gearman_return_t *ret) {
  (void)context;
  *size = gearman_job_workload_size(job);
  char *result = malloc(*size ? *size : 1);
  memcpy(result, gearman_job_workload(job), *size);
  *ret = GEARMAN_SUCCESS;
  return result; /* the library frees it */
}

int main(int argc, char **argv) {
  gearman_worker_st *worker = gearman_worker_create(NULL);
  if (argc != 2 || !worker) return 2;
  if (gearman_failed(gearman_worker_add_server(worker, "127.0.0.1", (in_port_t)atoi(argv[1])))) return 1;
  if (gearman_failed(gearman_worker_add_function(worker, "echo", 0, echo, NULL))) return 1;
  while (gearman_success(gearman_worker_work(worker))) {
  }
  fprintf(stderr, "%s\n", gearman_worker_error(worker));
  return 1;
}
