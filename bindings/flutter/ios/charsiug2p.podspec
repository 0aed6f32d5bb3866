Pod::Spec.new do |s|
  s.name = 'charsiug2p'
  s.version = '0.1.0'
  s.summary = 'On-device models compiled by harness.'
  s.license = { :type => 'Apache-2.0' }
  s.author = 'The authors of harness'
  s.source = { :path => '.' }
  s.dependency 'Flutter'
  s.platform = :ios, '14.0'
  s.vendored_frameworks = 'HarnessModels.xcframework'
  # Nothing refers to what registers the models: without the flag the linker leaves them out.
  s.user_target_xcconfig = { 'OTHER_LDFLAGS' => '$(inherited) -lc++ -all_load' }
end
