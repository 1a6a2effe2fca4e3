// The page that explains a request: its sentences in the page's language.
import { translateSentences } from "./sentences.js";

translateSentences();
