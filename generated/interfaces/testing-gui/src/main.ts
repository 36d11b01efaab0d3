// Starts the page in the browser.
import { startPage } from './page';

void startPage();
