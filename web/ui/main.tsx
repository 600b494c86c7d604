import { render } from "solid-js/web";
import { App } from "./app.tsx";
import { stayAboveKeyboard } from "./viewport.ts";
import "./styles/base.css";
import "./styles/controls.css";
import "./styles/home.css";
import "./styles/dialog.css";

const root = document.getElementById("root");
if (root === null) throw new Error("index.html has a #root");
stayAboveKeyboard();
render(() => <App />, root);
