// npm's abraxas: node abraxas.js worker|client PORT [FUNCTION]
"use strict";
const gearman = require("abraxas");
const [role, port, first] = process.argv.slice(2);
const peer = gearman.Client.connect({ servers: [`127.0.0.1:${port}`], defaultEncoding: "utf8" });
if (role === "worker") {
  peer.registerWorker("echo", (task) => task.payload);
} else {
  [[first, "first"], ["echo", "second"]].forEach(([name, workload], index) => {
    peer.submitJob(name, workload, (error, result) => {
      console.log(error ? `${index + 1} error ${error.message}` : `${index + 1} result ${result}`);
    });
  });
}
