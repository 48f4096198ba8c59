// npm's gearman: node gearman.js worker|client PORT [FUNCTION]
"use strict";
const gearman = require("gearman");
const [role, port, first] = process.argv.slice(2);
const peer = gearman("127.0.0.1", Number(port));
const handles = {};
let created = 0;
peer.on("JOB_ASSIGN", (job) => {
  peer.sendWorkComplete(job.handle, job.payload.toString());
  peer.preSleep();
});
peer.on("NOOP", () => peer.grabJob());
// It leaves to the program which answer belongs to which job; they come in order.
peer.on("ERROR", (code) => console.log(`${++created} error ${code}`));
peer.on("JOB_CREATED", (handle) => { handles[handle] = ++created; });
peer.on("WORK_COMPLETE", (job) => console.log(`${handles[job.handle]} result ${job.payload}`));
peer.connect(() => {
  if (role === "worker") {
    peer.addFunction("echo");
    peer.preSleep();
  } else {
    peer.submitJob(first, "first");
    peer.submitJob("echo", "second");
  }
});
