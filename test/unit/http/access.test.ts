import 'reflect-metadata';
import { Controller, Get } from '@nestjs/common';
import { FASTIFY_ROUTE_CONFIG_METADATA } from '@nestjs/platform-fastify/constants.js';
import { expect, it } from 'vitest';
import { AdminOnly, Public } from '../../../src/http/access.js';

@AdminOnly()
@Controller()
class MostlyForTheAdmin {
  @Get('one')
  one(): void {
    // Only its decorators matter.
  }

  @Public()
  @Get('two')
  two(): void {
    // Likewise.
  }
}

it.each([
  ['one', { for: 'operator' }],
  ['two', { for: 'anybody' }],
] as const)('opens %s to %o: what a method says comes before what its class says', (name, access) => {
  const { value: handler } = Object.getOwnPropertyDescriptor(MostlyForTheAdmin.prototype, name)!;
  expect(Reflect.getMetadata(FASTIFY_ROUTE_CONFIG_METADATA, handler as object)).toEqual({ access });
});
