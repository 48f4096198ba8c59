// npm's gearman-node: node gearman-node.js worker|client PORT [FUNCTION]
"use strict";
const gearman = require("gearman-node");
const [role, port, first] = process.argv.slice(2);
const where = { host: "127.0.0.1", port: Number(port) };
if (role === "worker") {
  new gearman.Worker("echo", (payload, worker) => worker.complete(payload), where);
} else {
  const client = new gearman.Client(where);
  [[first, "first"], ["echo", "second"]].forEach(([name, workload], index) => {
    const job = client.submitJob(name, workload);
    let data = "";
    job.on("data", (handle, chunk) => { data += chunk; });
    job.on("complete", (handle, last) => console.log(`${index + 1} result ${data}${last || ""}`));
    job.on("fail", () => console.log(`${index + 1} error failed`));
  });
}
