import { render } from "solid-js/web";
import { App } from "./app.tsx";
import "@xterm/xterm/css/xterm.css";
import "./styles/base.css";
import "./styles/home.css";
import "./styles/ide.css";
import "./styles/dialog.css";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has a #root");
render(() => <App />, root);
