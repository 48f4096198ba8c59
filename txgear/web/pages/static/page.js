// What every page does. Each module has one idea; a page reads as well without any of them.
import { start as forms } from "./forms.js";
import { start as keys } from "./keys.js";
import { start as live } from "./live.js";
import { start as select } from "./select.js";
import { start as times } from "./times.js";

times();
live();
select();
forms();
keys();
