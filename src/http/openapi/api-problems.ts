import { applyDecorators } from '@nestjs/common';
import { ApiExtraModels, ApiProperty, ApiPropertyOptional, ApiResponse } from '@nestjs/swagger';
import { ProblemCode, PROBLEMS } from '../../domain/errors.js';

export class FieldErrorResponse {
  @ApiProperty({ example: 'event_type' })
  path!: string;

  @ApiProperty({ example: 'must be a string of 1 to 256 characters' })
  message!: string;
}

/** RFC 9457. */
export class ProblemResponse {
  @ApiProperty({ format: 'uri', example: 'urn:posthorn:problem:invalid_request' })
  type!: string;

  @ApiProperty({ example: 'The request is not valid' })
  title!: string;

  @ApiProperty({ minimum: 400, maximum: 599, example: 422 })
  status!: number;

  @ApiProperty({ example: 'event_type: must be a string of 1 to 256 characters' })
  detail!: string;

  @ApiProperty({ example: 'invalid_request', enum: Object.keys(PROBLEMS), enumName: 'ProblemCode' })
  code!: string;

  @ApiPropertyOptional({ type: [FieldErrorResponse] })
  errors?: FieldErrorResponse[];

  @ApiProperty({ example: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e' })
  request_id!: string;
}

/** Documents the problems that a route may answer with, one response a status; the guard's own are added by itself. */
export function ApiProblems(...codes: ProblemCode[]): ClassDecorator & MethodDecorator {
  return applyDecorators(
    ApiExtraModels(ProblemResponse),
    ...byStatus(codes).map(([status, sameStatus]) => ApiResponse({ status, ...problemResponse(sameStatus) })),
  );
}

export function byStatus(codes: readonly ProblemCode[]): [number, ProblemCode[]][] {
  const grouped = new Map<number, ProblemCode[]>();
  for (const code of codes) {
    const { status } = PROBLEMS[code];
    grouped.set(status, [...(grouped.get(status) ?? []), code]);
  }
  return [...grouped];
}

export function problemResponse(codes: readonly ProblemCode[]) {
  return {
    description: codes.map((code) => `\`${code}\`: ${PROBLEMS[code].title}.`).join('\n\n'),
    content: {
      'application/problem+json': {
        schema: { $ref: '#/components/schemas/ProblemResponse' },
        examples: Object.fromEntries(codes.map((code) => [code, { $ref: `#/components/examples/${code}` }])),
      },
    },
  };
}

/** The name of the response that stands for every status that an operation does not list, such as 500. */
export const OTHER_PROBLEM = 'OtherProblem';

export const otherProblemResponse = () => ({
  description: 'Any other problem, such as an error of the service.',
  content: { 'application/problem+json': { schema: { $ref: '#/components/schemas/ProblemResponse' } } },
});

/** The examples that answers refer to. */
export const problemExamples = (codes: readonly ProblemCode[]): Record<string, { value: object }> =>
  Object.fromEntries(codes.map((code) => [code, { value: exampleOf(code) }]));

function exampleOf(code: ProblemCode): Record<string, unknown> {
  const { status, title } = PROBLEMS[code];
  return {
    type: `urn:posthorn:problem:${code}`,
    title,
    status,
    detail: `${title}.`,
    code,
    request_id: '0198c0de-7a5e-7b1c-9d3e-5f0a1b2c3d4e',
  };
}
