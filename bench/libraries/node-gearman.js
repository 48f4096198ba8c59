// npm's node-gearman: node node-gearman.js worker|client PORT [FUNCTION]
"use strict";
const Gearman = require("node-gearman");
const [role, port, first] = process.argv.slice(2);
const peer = new Gearman("127.0.0.1", Number(port));
if (role === "worker") {
  peer.registerWorker("echo", (payload, worker) => worker.end(payload));
} else {
  peer.on("error", (error) => console.log(`0 error ${error}`));
  [[first, "first"], ["echo", "second"]].forEach(([name, workload], index) => {
    const job = peer.submitJob(name, workload);
    job.on("data", (data) => console.log(`${index + 1} result ${data}`));
    job.on("error", (error) => console.log(`${index + 1} error ${error.message}`));
  });
}
