// What every page does. Each module has one idea; a page reads as well without any of them.
import "./times.js";
import "./live.js";
import "./keys.js";
