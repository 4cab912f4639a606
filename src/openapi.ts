/** `npm run openapi`: writes `openapi.json`, the description of the API that is committed beside the code. */
import { writeFile } from 'node:fs/promises';
import { contract } from './contract.js';

await writeFile('openapi.json', await contract());
