# What both consumer projects do once they have smolvlm::smolvlm: check that nothing was imposed, build the program.
foreach(variable IN ITEMS CMAKE_BUILD_TYPE CMAKE_CXX_FLAGS CMAKE_CXX_STANDARD CMAKE_CXX_EXTENSIONS
        CMAKE_RUNTIME_OUTPUT_DIRECTORY CMAKE_POSITION_INDEPENDENT_CODE BUILD_SHARED_LIBS)
    if(${variable})
        message(FATAL_ERROR "smolvlm set the consumer's ${variable} to ${${variable}}")
    endif()
endforeach()
get_target_property(aliased smolvlm::smolvlm ALIASED_TARGET)
if(NOT aliased)
    set(aliased smolvlm::smolvlm)
endif()
foreach(property IN ITEMS INTERFACE_COMPILE_OPTIONS INTERFACE_COMPILE_DEFINITIONS INTERFACE_LINK_OPTIONS)
    get_target_property(value ${aliased} ${property})
    if(value)
        message(FATAL_ERROR "smolvlm::smolvlm imposes ${property} ${value}")
    endif()
endforeach()

add_executable(program "${PROGRAM}")
target_link_libraries(program PRIVATE smolvlm::smolvlm)
# A consumer may be strict about its own code.
target_compile_options(program PRIVATE -Wall -Wextra -Wconversion -Wshadow -Wsign-conversion -Wold-style-cast -Werror)

if(TARGET smolvlm::openmp)
    add_executable(program_threads "${PROGRAM}")
    target_link_libraries(program_threads PRIVATE smolvlm::openmp)
endif()
