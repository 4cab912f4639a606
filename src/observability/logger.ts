import type { LoggerService } from '@nestjs/common';
import { Logger, pino } from 'pino';

/** Injection token of the process' pino logger. */
export const LOGGER = Symbol('logger');

/** JSON lines on standard output. Keys and secrets are censored by name wherever they stand. */
export function createLogger(level: string, role: string): Logger {
  return pino({
    level,
    base: { service: 'posthorn', role },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
    redact: {
      paths: ['*.secret', '*.api_key', '*.authorization', '*["x-api-key"]', '*.password'],
      censor: '[secret]',
    },
  });
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
