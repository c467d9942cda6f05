# What every target of ours is compiled with.
function(lowrank_compile_options target)
  target_compile_options(${target} PRIVATE -Wall -Wextra -Wshadow -Wundef -Wnon-virtual-dtor -Werror)
  if(LOWRANK_FUZZ)
    target_compile_options(${target} PRIVATE -fsanitize=fuzzer-no-link)  # coverage, which guides the fuzzer
  endif()
  if(LOWRANK_SANITIZE)
    target_compile_options(${target} PUBLIC -fsanitize=${LOWRANK_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=undefined)
    target_link_options(${target} PUBLIC -fsanitize=${LOWRANK_SANITIZE})
  endif()
endfunction()
