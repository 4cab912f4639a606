require_relative 'verify'

$stdin.each_line do |line|
  which, secret, headers, body = line.split.map { |field| field.unpack1('m0') }
  named = headers.split("\n").to_h { |header| header.split(': ', 2) }
  function = which == 'standard' ? :verify : :verify_simple
  puts WebhookVerifier.public_send(function, named, body, secret)
end
