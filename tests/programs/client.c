/* A client: client PORT SCENARIO ARGUMENT...
 * With PORT 0 the library's own environment variable names the server. Each scenario prints what happened, a line for each event.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <libgearman/gearman.h>

static gearman_client_st *client;

static void print_result(gearman_task_st *task)
{
  gearman_result_st *result = gearman_task_result(task);
  printf("%s\n", gearman_strerror(gearman_task_return(task)));
  if (result != NULL && gearman_result_size(result) > 0) {
    printf("%.*s\n", (int)gearman_result_size(result), gearman_result_value(result));
  }
}

static gearman_task_st *execute(const char *function, const char *workload, const char *unique,
                                gearman_task_attr_t *attributes)
{
  gearman_argument_t argument = gearman_argument_make(NULL, 0, workload, strlen(workload));
  gearman_task_st *task = gearman_execute(client, function, strlen(function), unique,
                                          unique == NULL ? 0 : strlen(unique), attributes, &argument, NULL);
  if (task == NULL) {
    printf("%s\n", gearman_client_error(client));
  }
  return task;
}

/* do FUNCTION WORKLOAD: waits for the result. */
static int scenario_do(char **argument)
{
  size_t size;
  gearman_return_t rc;
  char *result = gearman_client_do(client, argument[0], NULL, argument[1], strlen(argument[1]), &size, &rc);
  printf("%s\n", gearman_strerror(rc));
  if (result != NULL) {
    printf("%.*s\n", (int)size, result);
    free(result);
  }
  return 0;
}

/* execute FUNCTION WORKLOAD: the same through the newer interface. */
static int scenario_execute(char **argument)
{
  gearman_task_st *task = execute(argument[0], argument[1], NULL, NULL);
  if (task != NULL) {
    print_result(task);
  }
  return 0;
}

/* background FUNCTION WORKLOAD UNIQUE: prints the handle and the job's status. */
static int scenario_background(char **argument)
{
  gearman_job_handle_t handle;
  bool known, running;
  uint32_t numerator, denominator;
  gearman_return_t rc = gearman_client_do_background(client, argument[0], argument[2], argument[1],
                                                     strlen(argument[1]), handle);
  printf("%s\n%s\n", gearman_strerror(rc), handle);
  rc = gearman_client_job_status(client, handle, &known, &running, &numerator, &denominator);
  printf("%s\n%d %d %u %u\n", gearman_strerror(rc), known, running, numerator, denominator);
  return 0;
}

/* status HANDLE */
static int scenario_status(char **argument)
{
  bool known, running;
  uint32_t numerator, denominator;
  gearman_return_t rc = gearman_client_job_status(client, argument[0], &known, &running, &numerator, &denominator);
  printf("%s\n%d %d %u %u\n", gearman_strerror(rc), known, running, numerator, denominator);
  return 0;
}

/* unique UNIQUE: the status by the client's own name. */
static int scenario_unique(char **argument)
{
  gearman_status_t status = gearman_client_unique_status(client, argument[0], strlen(argument[0]));
  printf("%s\n%d %d %u %u\n", gearman_strerror(gearman_status_return(status)), gearman_status_is_known(status),
         gearman_status_is_running(status), gearman_status_numerator(status), gearman_status_denominator(status));
  return 0;
}

/* epoch FUNCTION WORKLOAD SECONDS: a job for that many seconds from now; prints the handle. */
static int scenario_epoch(char **argument)
{
  gearman_task_attr_t when =
      gearman_task_attr_init_epoch(time(NULL) + atoi(argument[2]), GEARMAN_JOB_PRIORITY_NORMAL);
  gearman_task_st *task = execute(argument[0], argument[1], NULL, &when);
  if (task != NULL) {
    printf("%s\n%s\n", gearman_strerror(gearman_task_return(task)), gearman_task_job_handle(task));
  }
  return 0;
}

/* reduce SPLITTER REDUCER WORKLOAD: one job, cut by the first function, done by the second, put together again. */
static int scenario_reduce(char **argument)
{
  gearman_argument_t workload = gearman_argument_make(NULL, 0, argument[2], strlen(argument[2]));
  gearman_task_st *task = gearman_execute_by_partition(client, argument[0], strlen(argument[0]), argument[1],
                                                       strlen(argument[1]), NULL, 0, NULL, &workload, NULL);
  if (task == NULL) {
    printf("%s\n", gearman_client_error(client));
  } else {
    print_result(task);
  }
  return 0;
}

static gearman_return_t on_created(gearman_task_st *task)
{
  printf("created %s\n", gearman_task_job_handle(task)[0] ? "handle" : "nothing");
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_data(gearman_task_st *task)
{
  printf("data %.*s\n", (int)gearman_task_data_size(task), (const char *)gearman_task_data(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_status(gearman_task_st *task)
{
  printf("status %u/%u\n", gearman_task_numerator(task), gearman_task_denominator(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_complete(gearman_task_st *task)
{
  printf("complete %.*s\n", (int)gearman_task_data_size(task), (const char *)gearman_task_data(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_exception(gearman_task_st *task)
{
  printf("exception %.*s\n", (int)gearman_task_data_size(task), (const char *)gearman_task_data(task));
  return GEARMAN_SUCCESS;
}

static gearman_return_t on_fail(gearman_task_st *task)
{
  (void)task;
  printf("fail\n");
  return GEARMAN_SUCCESS;
}

/* tasks EXCEPTIONS FUNCTION... : all at once, with every callback. */
static int scenario_tasks(char **argument)
{
  if (atoi(argument[0])) {
    gearman_client_add_options(client, GEARMAN_CLIENT_EXCEPTION);
    gearman_client_set_exception_fn(client, on_exception);
  }
  gearman_client_set_created_fn(client, on_created);
  gearman_client_set_data_fn(client, on_data);
  gearman_client_set_status_fn(client, on_status);
  gearman_client_set_complete_fn(client, on_complete);
  gearman_client_set_fail_fn(client, on_fail);
  for (argument++; *argument != NULL; argument++) {
    gearman_return_t rc;
    gearman_client_add_task(client, NULL, NULL, *argument, NULL, "workload", 8, &rc);
    if (gearman_failed(rc)) {
      printf("%s\n", gearman_strerror(rc));
    }
  }
  printf("%s\n", gearman_strerror(gearman_client_run_tasks(client)));
  return 0;
}

/* echo DATA */
static int scenario_echo(char **argument)
{
  printf("%s\n", gearman_strerror(gearman_client_echo(client, argument[0], strlen(argument[0]))));
  return 0;
}

static const struct {
  const char *name;
  int (*run)(char **);
} scenarios[] = {
  {"do", scenario_do}, {"execute", scenario_execute}, {"background", scenario_background},
  {"status", scenario_status}, {"unique", scenario_unique}, {"epoch", scenario_epoch},
  {"reduce", scenario_reduce}, {"tasks", scenario_tasks}, {"echo", scenario_echo},
};

int main(int argc, char *argv[])
{
  if (argc < 3) {
    return 2;
  }
  setbuf(stdout, NULL);
  client = gearman_client_create(NULL);
  gearman_client_set_timeout(client, 10000);
  if (atoi(argv[1]) > 0) {
    gearman_client_add_server(client, "127.0.0.1", (in_port_t)atoi(argv[1]));
  }
  for (size_t at = 0; at < sizeof(scenarios) / sizeof(scenarios[0]); at++) {
    if (strcmp(argv[2], scenarios[at].name) == 0) {
      int status = scenarios[at].run(argv + 3);
      gearman_client_free(client);
      return status;
    }
  }
  return 2;
}
