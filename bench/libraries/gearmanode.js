// npm's gearmanode: node gearmanode.js worker|client PORT [FUNCTION]
"use strict";
const gearmanode = require("gearmanode");
gearmanode.Client.logger.transports.forEach((transport) => { transport.silent = true; });
gearmanode.Worker.logger.transports.forEach((transport) => { transport.silent = true; });
const [role, port, first] = process.argv.slice(2);
const where = { host: "127.0.0.1", port: Number(port) };
if (role === "worker") {
  gearmanode.worker(where).addFunction("echo", (job) => job.workComplete(job.payload));
} else {
  const client = gearmanode.client(where);
  client.on("jobServerError", (server, code) => console.log(`0 error ${code}`));
  [[first, "first"], ["echo", "second"]].forEach(([name, workload], index) => {
    const job = client.submitJob(name, workload);
    job.on("complete", () => console.log(`${index + 1} result ${job.response}`));
    job.on("failed", () => console.log(`${index + 1} error failed`));
    job.on("error", (error) => console.log(`${index + 1} error ${error.message}`));
  });
}
