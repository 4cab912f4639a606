import type { LoggerService } from '@nestjs/common';
import { Logger, pino } from 'pino';

/** Injection token of the process' pino logger. */
export const LOGGER = Symbol('logger');

/** Lines are written together: as soon as they have so many bytes, and every so many milliseconds. */
const WRITE_BYTES = 8 * 1024;
const WRITE_MS = 100;

/**
 * JSON lines on standard output. Written in the background, since there is a line for every attempt; pino itself
 * writes out what is left when the process exits. What is logged is chosen field by field: never a request, a
 * subscription or a configuration as a whole, which would carry secrets.
 */
export function createLogger(level: string, role: string): Logger {
  return pino(
    {
      level,
      base: { service: 'posthorn', role },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
      serializers: { err: describeError },
    },
    pino.destination({ sync: false, minLength: WRITE_BYTES, periodicFlush: WRITE_MS }),
  );
}

/** An error without what hangs on it: a failed query carries its parameters, and they may be secrets. */
function describeError(error: unknown): Record<string, unknown> {
  const { name, message, code, stack } = error as NodeJS.ErrnoException;
  return { type: name, message, code, stack };
}

/** Lets Nest's own messages go through pino. */
export class NestLogger implements LoggerService {
  constructor(private readonly logger: Logger) {}

  log(message: unknown, ...context: unknown[]): void {
    this.write('debug', message, context);
  }
  error(message: unknown, ...context: unknown[]): void {
    this.write('error', message, context);
  }
  warn(message: unknown, ...context: unknown[]): void {
    this.write('warn', message, context);
  }
  debug(message: unknown, ...context: unknown[]): void {
    this.write('debug', message, context);
  }
  verbose(message: unknown, ...context: unknown[]): void {
    this.write('trace', message, context);
  }
  fatal(message: unknown, ...context: unknown[]): void {
    this.write('fatal', message, context);
  }

  private write(
    level: 'trace' | 'debug' | 'warn' | 'error' | 'fatal',
    message: unknown,
    context: unknown[],
  ): void {
    if (message instanceof Error) this.logger[level]({ err: message, context: context.at(-1) });
    else this.logger[level]({ context: context.at(-1) }, String(message));
  }
}
