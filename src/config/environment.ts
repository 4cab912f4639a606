import { existsSync } from 'node:fs';
import { loadEnvFile } from 'node:process';

/** The environment, completed by a `.env` file in the working directory; what is set already wins over the file. */
export function readEnvironment(): Readonly<Record<string, string | undefined>> {
  if (existsSync('.env')) loadEnvFile('.env');
  return process.env;
}
